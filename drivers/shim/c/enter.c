/* What a container runtime starts in our name, inside. It waits for its command and becomes it; or, told to attend, starts it and
 * says how it ended. The runtime knows neither arguments nor variables: its own form cannot carry all bytes that they may hold,
 * and by the time that they arrive this process is inside the task's limits. */
#include "shim.h"

static i64 read_all(char *to, u64 n)
{
	while (n) {
		i64 got = SYS3(read, COMMAND_FD, to, n);
		if (got <= 0)
			return got ? got : -EIO;
		to += got, n -= (u64)got;
	}
	return 0;
}

/* n texts, one behind the other, as the list that execve wants. */
static char **list(char **at, u32 n, char **texts)
{
	while (n--) {
		*at++ = *texts;
		*texts += length(*texts) + 1;
	}
	*at++ = 0;
	return at;
}

u64 lists_bytes(const struct request *c)
{
	return ((u64)c->argc + c->envc + 2) * sizeof(char *);
}

void *room(u64 bytes)
{
	i64 e = SYS6(mmap, 0, bytes, PROT_RW, MAP_PRIVATE_ANONYMOUS, -1, 0);
	step("make room for the command", e > 0 || e < -4095 ? 0 : e);
	return (void *)e;
}

/* Makes a request's texts what is to be run. The lists, which it returns, are needed until that has begun. */
char **request_take(const struct request *c, char *texts)
{
	char **lists = room(lists_bytes(c));
	S.spec.work_dir = texts;
	S.spec.make_dir = 1;
	texts += length(texts) + 1;
	S.spec.argv = lists;
	S.spec.envp = list(lists, c->argc, &texts);
	list(S.spec.envp, c->envc, &texts);
	S.spec.files = c->files;
	S.spec.file_bytes = c->file_bytes;
	return lists;
}

struct request command_hear(void)
{
	struct request c;
	char *texts;
	step("read the command", read_all((char *)&c, sizeof c));
	texts = room(c.bytes + 1);
	step("read the command", read_all(texts, c.bytes));
	request_take(&c, texts);
	return c;
}

static void attended(void)
{
	SYS0(setsid);
	SYS3(ioctl, 0, TIOCSCTTY, 0); /* if there is a terminal */
	execute();
}

/* Until the command has ended, or nobody is there any more to whom that could be told: then it ends here. */
void command_attend(void)
{
	static u8 stack[16384] __attribute__((aligned(16)));
	struct answer a = {0, 0, {0}};
	u64 all = ~0UL;
	i64 pid;
	SYS4(rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	SYS3(ioctl, 0, TIOCNOTTY, 0); /* the terminal is the command's, not this process's */
	pid = sys_spawn(NR_clone, SIGCHLD, (long)(stack + sizeof stack), attended);
	step("create process", pid);
	for (;;) {
		struct pollfd p = {COMMAND_FD, POLLIN, 0};
		struct timespec most = {0, 10000000};
		if (SYS4(wait4, pid, &a.status, WNOHANG, 0) == pid)
			break;
		SYS5(ppoll, &p, 1, &most, 0, 8);
		if (p.revents) {
			SYS2(kill, -pid, SIGKILL);
			SYS1(exit_group, 0);
		}
	}
	SYS3(write, COMMAND_FD, &a, sizeof a);
	SYS1(exit_group, 0);
}

/* Becomes a program to which one mount of the machine is not there. Nobody else misses it. */
void without(const char *mounted, char **argv, char **envp)
{
	i64 e = SYS1(unshare, CLONE_NEWNS);
	if (e >= 0)
		e = SYS5(mount, 0, "/", 0, MS_REC | MS_SLAVE, 0);
	if (e >= 0)
		e = SYS2(umount2, mounted, MNT_DETACH);
	if (e >= 0)
		SYS3(execve, argv[0], argv, envp);
	SYS1(exit_group, 125);
}

/* A command that does nothing and keeps its task's place: in an image there may be none. Signals end it as any other. */
void hold(void)
{
	for (;;)
		SYS5(ppoll, 0, 0, 0, 0, 8);
}

void enter(void)
{
	struct request c;
	S.answering = 1;
	SYS3(fcntl, COMMAND_FD, F_SETFD, FD_CLOEXEC);
	c = command_hear();
	if (c.streams) {
		step("connect streams", SYS3(dup3, COMMAND_FD + 1, 1, 0));
		step("connect streams", SYS3(dup3, COMMAND_FD + 2, 2, 0));
		SYS1(close, COMMAND_FD + 1);
		SYS1(close, COMMAND_FD + 2);
	}
	settle();
	if (c.attend)
		command_attend();
	SYS0(setsid); /* the runtime may have done it already */
	execute();
}
