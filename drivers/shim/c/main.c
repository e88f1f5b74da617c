/* coinop's shim: stands between one task and everything that may restart. It makes the task's limits, starts it, keeps its
 * lease, copies its output, waits for it and all its descendants, and writes down how it ended.
 *
 * argv: shim, options (one letter and a value each), "--", the task's argv. Its environment is the task's, descriptor 3 the
 * status file, locked: the lock says to everyone that this shim lives. */
#include "shim.h"

struct shim S;

static void add_write(char *text)
{
	struct cgroup_write *w = &S.spec.writes[S.spec.write_count];
	char *p = text;
	if (S.spec.write_count == WRITES_MAX || !S.spec.cgroup_count) {
		fail("read options", text, E2BIG);
		return;
	}
	while (*p && *p != '=')
		p++;
	if (*p)
		*p++ = 0;
	w->cgroup = S.spec.cgroup_count - 1;
	w->file = text;
	w->value = p;
	S.spec.write_count++;
}

static void option(char *o)
{
	struct spec *s = &S.spec;
	char *v = o + 1;
	switch (*o) {
	case 'u': s->uid = (u32)number(v); s->set_user |= 1; return;
	case 'g': s->gid = (u32)number(v); return;
	case 'f': s->files = number(v); return;
	case 'b': s->file_bytes = number(v); return;
	case 'h': s->head = number(v); return;
	case 't': s->tail = number(v); return;
	case 'G': s->grace_ms = number(v); return;
	case 'k': s->kill_ms = number(v); return;
	case 'l': s->has_lease = 1; S.lease_until = number(v); return;
	case 'm': S.status.missing = (u32)number(v); return;
	case 'd': s->work_dir = v; return;
	case 'o': s->log_dir = v; return;
	case 'S': s->share = v; return;
	case 'C': s->chdir = v; return;
	case 's':
		s->record = v;
		append(append(S.lease_path, S.lease_path + sizeof S.lease_path, v), S.lease_path + sizeof S.lease_path, "~lease");
		append(append(S.exit_path, S.exit_path + sizeof S.exit_path, v), S.exit_path + sizeof S.exit_path, "~exit");
		return;
	case 'p': s->private = 1; return;
	case 'H': s->hold = 1; return;
	case 'B': s->box.dir = v; return;
	case 'W': s->box.work = v; return;
	case 'I': s->box.program = v; return;
	case 'U': s->box.uid_map = v; return;
	case 'V': s->box.gid_map = v; return;
	case 'L':
		if (s->box.layer_count == LAYERS_MAX)
			break;
		s->box.layers[s->box.layer_count++] = v;
		return;
	case 'r':
		if (s->box.runtime_count == RUNTIME_MAX)
			break;
		s->box.runtime[s->box.runtime_count++] = v;
		return;
	case 'w': add_write(v); return;
	case 'c':
		if (s->cgroup_count < CGROUPS_MAX) {
			s->cgroups[s->cgroup_count].kind = v[0];
			s->cgroups[s->cgroup_count++].dir = v + 1;
			return;
		}
	}
	fail("read options", o, EINVAL);
}

static void pipe_for(struct stream *s, const char *name, i32 *childs_end)
{
	i32 ends[2];
	i64 e = SYS2(pipe2, ends, O_CLOEXEC);
	s->file = s->fd = -1;
	s->name = name;
	if (e < 0) {
		fail("make pipe", name, (i32)-e);
		return;
	}
	s->fd = ends[0];
	*childs_end = ends[1];
	SYS3(fcntl, ends[0], F_SETFL, O_NONBLOCK);
}

static i32 need(const char *step, i64 fd)
{
	if (fd < 0)
		fail(step, 0, (i32)-fd);
	return (i32)fd;
}

void close_from(u32 fd)
{
	if (SYS3(close_range, fd, ~0U, 0) < 0)
		for (; fd < 1024; fd++)
			SYS1(close, fd);
}

static void prepare(void)
{
	static struct sigaction plain;
	u64 all = ~0UL, heard = 1UL << (SIGCHLD - 1) | 1UL << (SIGUSR1 - 1);
	SYS3(fcntl, STATUS_FD, F_SETFD, FD_CLOEXEC);
	close_from(STATUS_FD + 1); /* whoever started the agent may have left it files open that are no task's business */
	SYS2(prctl, PR_SET_CHILD_SUBREAPER, 1);
	SYS2(prctl, PR_SET_DUMPABLE, 0); /* the child shares this memory while it already is another user */
	SYS4(rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	SYS4(rt_sigaction, SIGCHLD, &plain, 0, 8); /* an inherited "ignore" would swallow exit codes */
	S.signal_fd = need("hear signals", SYS4(signalfd4, -1, &heard, 8, O_CLOEXEC | O_NONBLOCK));
	S.timer_fd = need("make timer", SYS2(timerfd_create, CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
	S.null_fd = need("open /dev/null", SYS4(openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0));
	pipe_for(&S.out[0], "stdout", &S.child_out);
	pipe_for(&S.out[1], "stderr", &S.child_err);
}

static void reap(void)
{
	struct rusage r;
	i32 status;
	i64 pid;
	while ((pid = SYS4(wait4, -1, &status, WNOHANG, &r)) > 0) {
		S.rusage_us += (u64)(r.utime.sec + r.stime.sec) * 1000000UL + (u64)(r.utime.usec + r.stime.usec);
		if ((u64)r.maxrss * 1024 > S.rusage_peak)
			S.rusage_peak = (u64)r.maxrss * 1024;
		if (pid == S.init_pid)
			S.init_pid = 0;
		if (pid == S.main_pid) {
			S.status.ended = now();
			S.main_status = status;
			S.main_done = 1;
		}
	}
	if (pid == -ECHILD && S.main_done)
		S.main_done = 2;
}

/* Takes the signals that have come, and says whether the driver's was among them. */
int signalled(void)
{
	i64 at, n = SYS3(read, S.signal_fd, S.buffer, 4096);
	int called = 0;
	for (at = 0; at + 128 <= n; at += 128) /* the kernel tells of each in 128 bytes, beginning with its number */
		called |= *(u32 *)(void *)(S.buffer + at) == SIGUSR1;
	return called;
}

/* Until the first process has ended and no descendant is left. */
static void attend(void)
{
	while (S.main_done < 2) {
		struct pollfd p[4] = {{S.signal_fd, POLLIN, 0}, {S.timer_fd, POLLIN, 0}, {S.out[0].fd, POLLIN, 0}, {S.out[1].fd, POLLIN, 0}};
		struct timespec again = {0, 20000000};
		u64 ticks;
		SYS5(ppoll, p, 4, S.main_done ? &again : 0, 0, 8);
		if (p[2].revents)
			log_copy(&S.out[0]);
		if (p[3].revents)
			log_copy(&S.out[1]);
		if (p[0].revents && signalled())
			control_read();
		if (p[0].revents || S.main_done)
			reap();
		if (p[1].revents) {
			SYS3(read, S.timer_fd, &ticks, sizeof ticks);
			time_passed();
		}
		if (S.main_done == 1) /* what a killed process leaves becomes ours, so repeat until nothing is left */
			tree_kill();
		else if (p[0].revents || p[1].revents)
			timer_set();
	}
}

static void conclude(void)
{
	struct status *s = &S.status;
	i32 sig = S.main_status & 0x7f;
	span_end(s->ended);
	if (s->cause) /* it never began */
		return;
	s->code = sig ? 128 + sig : S.main_status >> 8 & 0xff;
	s->signal = sig;
	if (S.killed_for && sig == SIGKILL)
		s->cause = S.killed_for;
	else if (S.stop_sent)
		s->cause = STOPPED;
	else if (sig == SIGKILL && s->struck & STRUCK_MEMORY)
		s->cause = OOM;
	else
		s->cause = sig ? SIGNALLED : EXITED_ITSELF;
}

static void run(void)
{
	long pid;
	lease_read();
	if (S.spec.has_lease && now() >= S.lease_until) {
		S.status.cause = LEASE;
		S.status.code = 125;
		return;
	}
	if (cgroups_make() < 0)
		return;
	pid = S.spec.box.dir ? box_start() : child_start();
	SYS1(close, S.child_out);
	SYS1(close, S.child_err);
	SYS1(close, S.null_fd);
	if (pid < 0)
		return;
	S.main_pid = (i32)pid;
	init_await();
	if (!S.status.cause) {
		S.status.started = now();
		S.status.pid = S.main_pid;
		S.status.state = RUNNING;
		publish();
	}
	timer_set();
	if (S.spec.box.dir) { /* the signals may have come while the runtime was waited for */
		control_read();
		reap();
	}
	attend();
	log_flush();
	cgroups_account();
	conclude();
	S.status.pid = 0;
}

__attribute__((used, noreturn)) void shim_main(u64 *sp)
{
	u64 argc = sp[0], i;
	char **argv = (char **)(sp + 1);
	if (same(argv[0], "/init")) /* as a kernel calls it that has just begun */
		guest();
	if (argc == 2 && same(argv[1], "enter"))
		enter();
	if (argc == 2 && same(argv[1], "hold"))
		hold();
	if (argc > 3 && same(argv[1], "without"))
		without(argv[2], argv + 3, argv + argc + 1);
	S.status.state = STARTING;
	S.status.shim_pid = (i32)SYS0(getpid);
	S.spec.envp = argv + argc + 1;
	S.spec.work_dir = "/";
	for (i = 1; i < argc && !same(argv[i], "--"); i++)
		option(argv[i]);
	S.spec.argv = argv + i + 1;
	if (i + 1 >= argc)
		fail("read options", "no command", EINVAL);
	publish();
	prepare();
	if (!S.status.cause)
		run();
	if (!S.status.ended)
		S.status.ended = now();
	write_exit_record();
	cgroups_remove(); /* last, for it is slow; the driver looks when this process is gone */
	SYS1(exit_group, 0);
	for (;;)
		;
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall shim_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl shim_main\n");
#endif
