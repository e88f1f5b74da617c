/* What a task has for itself: process numbers, so that it can signal and trace nobody else's processes; shared memory; and a
 * view of the file system in which there are no other tasks. All of it ends with the task's last process. */
#include "shim.h"

static u8 init_stack[4096] __attribute__((aligned(16)));

/* The first process of the namespace, the task's orphans' parent. The task itself is the second: the first would be deaf to
 * signals that it has no handler for. It ends with the shim, and all of the namespace with it. */
static void init(void)
{
	static struct sigaction ignore = {SIG_IGN, 0, 0, 0};
	i32 fd;
	SYS2(prctl, PR_SET_PDEATHSIG, SIGKILL);
	S.init_ready = 1;
	SYS4(rt_sigaction, SIGCHLD, &ignore, 0, 8); /* then the kernel waits for them */
	for (fd = 0; fd < 16; fd++) /* all that a shim has; the lock on the status file must end with the shim */
		SYS1(close, fd);
	for (;;)
		SYS5(ppoll, 0, 0, 0, 0, 8);
}

i64 init_spawn(u64 flags)
{
	i64 e = sys_spawn(NR_clone, (long)(CLONE_VM | SIGCHLD | flags), (long)(init_stack + sizeof init_stack), init);
	if (e > 0)
		S.init_pid = (i32)e;
	return e;
}

/* Until it would die with the shim. On a busy machine the task may be quicker than its namespace's first process. */
void init_await(void)
{
	struct timespec pause = {0, 20000};
	u64 until = now() + 10000000000UL;
	while (S.init_pid > 0 && !S.init_ready && now() < until)
		SYS2(nanosleep, &pause, 0);
}

i64 init_start(void)
{
	i64 e = SYS1(unshare, CLONE_NEWPID);
	return e < 0 ? e : init_spawn(0);
}

static const char *below(const char *folder, const char *path)
{
	while (*folder && *folder == *path)
		folder++, path++;
	return !*folder && *path == '/' ? path : 0;
}

i64 move(i64 tree, const char *to)
{
	i64 e = SYS5(move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
	SYS1(close, tree);
	return e;
}

static char own[4352], all[4352];

void up(char *path)
{
	char *p = path + length(path);
	while (p > path && *p != '/')
		p--;
	*p = 0;
}

/* The folder of logs and the work folder lie side by side in the task's own folder, that one among those of other tasks:
 * there, the task finds its own alone. */
static void hide_others(void)
{
	i64 tree;
	append(own, own + sizeof own, S.spec.log_dir);
	up(own);
	append(all, all + sizeof all, own);
	up(all);
	if (!*all || !below(own, S.spec.work_dir))
		return;
	tree = SYS3(open_tree, AT_FDCWD, own, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	step("hide other tasks", tree);
	step("hide other tasks", SYS5(mount, "coinop", all, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=711,size=4k,nr_inodes=4"));
	step("hide other tasks", SYS3(mkdirat, AT_FDCWD, own, 0711));
	step("hide other tasks", move(tree, own));
}

/* The task's own tmp, if it has one, is what it finds under the names that every program knows. */
static void own_tmp(const char *name)
{
	static char path[4352];
	i64 tree, e;
	if (below(name, S.spec.work_dir))
		return; /* it would cover the work folder itself */
	append(append(path, path + sizeof path, S.spec.work_dir), path + sizeof path, "/tmp");
	tree = SYS3(open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (tree == -ENOENT)
		return;
	step("open its tmp", tree);
	e = move(tree, name);
	if (e != -ENOENT)
		step("give it its own tmp", e);
}

void own_keys(void)
{
	if (S.spec.private)
		SYS2(keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0); /* the kernel may have no keys; else the agent's are out of reach */
}

/* The shim, with whom files are shared until then, keeps hold of where the task lives: what the task's own process calls its
 * view later may be one that it has made up. */
static void show_view(void)
{
	S.view_fd = (i32)SYS4(openat, AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
	step("keep its view", S.view_fd);
	S.ipc_fd = (i32)SYS4(openat, AT_FDCWD, "/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC, 0);
	step("keep its view", S.ipc_fd);
	step("keep its view", SYS1(unshare, CLONE_FILES));
}

void seclude(void)
{
	i64 e;
	/* what is mounted later on the machine shows here as well, but nothing the other way */
	step("make a view of its own", SYS5(mount, 0, "/", 0, MS_REC | MS_SLAVE, 0));
	step("mount its /proc", SYS5(mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	e = SYS5(mount, "coinop", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	if (e != -ENOENT)
		step("mount its /dev/shm", e);
	/* else a neighbour of the same user could read what is typed */
	e = SYS5(mount, "coinop", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600");
	if (e != -ENOENT)
		step("mount its /dev/pts", e);
	hide_others();
	if (!same(S.spec.work_dir, "/")) {
		own_tmp("/tmp");
		own_tmp("/var/tmp");
	}
	own_keys();
	show_view();
}
