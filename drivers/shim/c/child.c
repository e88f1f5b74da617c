/* The task's first process, from clone to exec. It shares the shim's memory until then (as vfork does), so a failure is
 * told by setting two variables, and no page table is copied. */
#include "shim.h"

static u8 stack[16384] __attribute__((aligned(16)));
static char candidate[4352];

void step(const char *what, i64 result)
{
	if (result >= 0)
		return;
	S.child_step = what;
	S.child_errno = (i32)-result;
	if (S.answering) {
		struct answer a = {(i32)-result, 0, {0}};
		append(a.step, a.step + sizeof a.step, what);
		SYS3(write, COMMAND_FD, &a, sizeof a);
	}
	SYS1(exit_group, 125);
}

/* Limits only go down: raising a hard limit needs a right that even root may lack. */
static void limit(u32 resource, u64 want)
{
	struct rlimit have, set;
	step("read resource limits", SYS4(prlimit64, 0, resource, 0, &have));
	set.max = want < have.max ? want : have.max;
	set.cur = set.max;
	step("set resource limits", SYS4(prlimit64, 0, resource, &set, 0));
}

void join(int unified)
{
	u32 i;
	for (i = 0; i < S.spec.cgroup_count; i++)
		if (S.spec.cgroups[i].kind != 'x' && (S.spec.cgroups[i].kind != '2' || unified))
			step("join cgroup", -cgroup_put(S.spec.cgroups[i].dir, "cgroup.procs", "0"));
}

void become_user(void)
{
	u32 group = S.spec.gid;
	if (!(S.spec.set_user & 1))
		return;
	step("set groups", SYS2(setgroups, 1, &group));
	step("set group", SYS3(setresgid, group, group, group));
	step("set user", SYS3(setresuid, S.spec.uid, S.spec.uid, S.spec.uid));
}

void plain_signals(void)
{
	static struct sigaction plain;
	u64 none = 0;
	int n;
	for (n = 1; n <= 64; n++)
		SYS4(rt_sigaction, n, &plain, 0, 8);
	SYS4(rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
}

static const char *search_path(void)
{
	char **e;
	for (e = S.spec.envp; *e; e++)
		if ((*e)[0] == 'P' && (*e)[1] == 'A' && (*e)[2] == 'T' && (*e)[3] == 'H' && (*e)[4] == '=')
			return *e + 5;
	return "/usr/local/bin:/usr/bin:/bin";
}

/* As execvp: a name without a slash is looked for in the task's own PATH; a file that is there but refuses is remembered. */
static i64 search(void)
{
	char **argv = S.spec.argv;
	const char *p, *name = argv[0];
	i64 e, worst = -ENOENT;
	for (p = name; *p; p++)
		if (*p == '/')
			return SYS3(execve, name, argv, S.spec.envp);
	if (!*name)
		return -ENOENT;
	for (p = search_path();; p++) {
		char *to = candidate, *end = candidate + sizeof candidate;
		while (*p && *p != ':' && to < end - 2)
			*to++ = *p++;
		if (to > candidate)
			*to++ = '/';
		append(to, end, name);
		e = SYS3(execve, candidate, argv, S.spec.envp);
		if (e != -ENOENT && e != -ENOTDIR && e != -EACCES)
			return e;
		if (e == -EACCES)
			worst = e;
		if (!*p)
			return worst;
	}
}

/* An image may start in a folder that it does not have. What cannot be made is seen by who enters it. */
static void make_folders(const char *path)
{
	const char *p = path;
	char *end = candidate + sizeof candidate;
	do {
		for (p++; *p && *p != '/'; p++)
			;
		append(candidate, p - path + 1 < end - candidate ? candidate + (p - path) + 1 : end, path);
		SYS3(mkdirat, AT_FDCWD, candidate, 0755);
	} while (*p);
}

/* The limits that a process has for itself, and its work folder. */
void settle(void)
{
	i64 e;
	limit(RLIMIT_CORE, 0);
	if (S.spec.files)
		limit(RLIMIT_NOFILE, S.spec.files);
	if (S.spec.file_bytes)
		limit(RLIMIT_FSIZE, S.spec.file_bytes);
	e = SYS1(chdir, S.spec.work_dir);
	if (e == -ENOENT && S.spec.make_dir) {
		make_folders(S.spec.work_dir);
		e = SYS1(chdir, S.spec.work_dir);
	}
	step(ENTER_WORK, e);
	SYS1(umask, 022);
}

static i32 program; /* the shim's own, to be run without a name: the task's user may not walk to it */

static void open_program(void)
{
	program = (i32)SYS4(openat, AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
	step("open its program", program);
}

void execute(void)
{
	plain_signals();
	step("execute", S.spec.hold ? SYS5(execveat, program, "", S.spec.argv, S.spec.envp, AT_EMPTY_PATH) : search());
}

void die_with_shim(void)
{
	step("die with the shim", SYS2(prctl, PR_SET_PDEATHSIG, SIGKILL));
	if (SYS0(getppid) != (S.spec.private ? 0 : S.status.shim_pid)) /* a parent outside of its namespace is 0 to it */
		SYS1(exit_group, 125);
}

static void child(void)
{
	join(S.spec.set_user & 2);
	if (S.spec.private)
		seclude();
	step("make session", SYS0(setsid));
	step("connect streams", SYS3(dup3, S.null_fd, 0, 0));
	step("connect streams", SYS3(dup3, S.child_out, 1, 0));
	step("connect streams", SYS3(dup3, S.child_err, 2, 0));
	settle();
	if (S.spec.hold)
		open_program();
	become_user();
	share_enter(); /* as its user, whose rights are what count there */
	step("forbid new privileges", SYS5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	die_with_shim();
	execute();
}

void not_started(const char *what, i32 error)
{
	int command = same(what, "execute"), folder = S.spec.box.dir && same(what, ENTER_WORK);
	int shared = same(what, ENTER_SHARE) || same(what, LEAVE_SHARE);
	fail(what, command ? S.spec.argv[0] : folder ? S.spec.work_dir : shared ? S.spec.chdir : 0, error);
	if (folder || shared) /* it is the image's or the job's: as a command that cannot be run */
		S.status.code = 126;
	if (command)
		S.status.code = error == ENOENT || error == ENOTDIR ? 127 : 126;
}

/* A child that shares this memory and a stack of its own until it executes or ends; what failed there is in S.child_errno. */
long spawn_vfork(u64 flags, void (*fn)(void))
{
	return sys_spawn(NR_clone, (long)(CLONE_VM | CLONE_VFORK | SIGCHLD | flags), (long)(stack + sizeof stack), fn);
}

/* Returns the pid, or a negative errno with the reason recorded. */
long child_start(void)
{
	const char *unified = cgroup_dir('2');
	struct clone_args args = {0};
	i64 fd = -1;
	long pid = -ENOSYS;
	u64 own = S.spec.private ? CLONE_NEWNS | CLONE_NEWIPC | CLONE_FILES : 0;
	if (S.spec.private && (pid = init_start()) < 0) {
		fail("make namespaces", 0, (i32)-pid);
		return pid;
	}
	pid = -ENOSYS;
	args.flags = CLONE_VM | CLONE_VFORK | own;
	args.exit_signal = SIGCHLD;
	args.stack = (u64)stack;
	args.stack_size = sizeof stack;
	if (unified) {
		fd = SYS4(openat, AT_FDCWD, unified, O_RDONLY | O_CLOEXEC, 0);
		if (fd >= 0) {
			args.flags |= CLONE_INTO_CGROUP;
			args.cgroup = (u64)fd;
		}
	}
	if (!unified || fd >= 0)
		pid = sys_spawn(NR_clone3, (long)&args, sizeof args, child);
	if (fd >= 0)
		SYS1(close, fd);
	if (pid == -ENOSYS) { /* some containers forbid clone3: then the child joins the unified group by itself */
		S.spec.set_user |= 2;
		pid = spawn_vfork(own, child);
	}
	if (pid < 0) {
		fail("create process", 0, (i32)-pid);
		return pid;
	}
	if (S.child_errno)
		not_started(S.child_step, S.child_errno);
	return pid;
}
