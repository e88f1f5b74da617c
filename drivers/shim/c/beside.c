/* One more command in a task that has no container. The shim begins it, so it is the task's as all that its first process begins:
 * frozen, counted and ended with it. The driver listens, and what it says goes the way that a container's first process knows. */
#include "shim.h"

static u8 stack[16384] __attribute__((aligned(16)));
static u64 line; /* the name of the driver's socket */

struct iovec { void *base; u64 bytes; };
struct msghdr { void *name; u64 name_bytes; struct iovec *parts; u64 count; void *control; u64 control_bytes; u64 flags; };
struct rights { u64 bytes; i32 level, type; i32 files[4]; };

#define RIGHTS_HEAD 16
#define SOL_SOCKET 1
#define SCM_RIGHTS 1

/* What the driver says first: with it come three streams, or a terminal is to be made. */
struct streams { u32 terminal; unsigned short rows, cols; };

/* Its folder of sockets lies beside the one of the status files. */
static void call_driver(void)
{
	static char folder[4352];
	struct { unsigned short family; char path[108]; } to = {AF_UNIX, {0}};
	char *end = to.path + sizeof to.path;
	i64 fd = SYS3(socket, AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0);
	step("call its driver", fd);
	append(folder, folder + sizeof folder, S.spec.record);
	up(folder);
	step("call its driver", SYS1(chdir, folder));
	append_number(append(to.path, end, "../exec/"), end, line);
	step("call its driver", SYS3(connect, fd, &to, sizeof to));
	step("call its driver", SYS3(dup3, fd, COMMAND_FD, O_CLOEXEC)); /* where the lock on the status file was, which is the shim's */
	S.answering = 1;
}

static struct streams hear_streams(void)
{
	struct streams w = {0, 0, 0};
	struct iovec part = {&w, sizeof w};
	struct rights r = {0};
	struct msghdr m = {0, 0, &part, 1, &r, sizeof r, 0};
	i64 n = SYS3(recvmsg, COMMAND_FD, &m, 0);
	int i;
	step("take streams", n == sizeof w ? 0 : n < 0 ? n : -EIO);
	if (w.terminal)
		return w;
	step("take streams", r.bytes == RIGHTS_HEAD + 3 * sizeof(i32) ? 0 : -EIO);
	for (i = 0; i < 3; i++) {
		step("connect streams", SYS3(dup3, r.files[i], i, 0));
		SYS1(close, r.files[i]);
	}
	return w;
}

/* A terminal: ends[0] is the command's, ends[1] the other side. */
i64 terminal_make(u32 rows, u32 cols, i32 *ends)
{
	unsigned short size[4] = {(unsigned short)rows, (unsigned short)cols, 0, 0};
	i32 unlock = 0;
	i64 e = SYS4(openat, AT_FDCWD, "/dev/ptmx", O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (e < 0)
		return e;
	ends[1] = (i32)e;
	SYS3(ioctl, ends[1], TIOCSPTLCK, &unlock);
	if (rows || cols)
		SYS3(ioctl, ends[1], TIOCSWINSZ, size);
	e = SYS3(ioctl, ends[1], TIOCGPTPEER, O_RDWR | O_CLOEXEC | O_NOCTTY);
	ends[0] = (i32)e;
	return e;
}

/* Made as the task's user, whose it is then, and where the task has its own. */
static void give_terminal(struct streams w)
{
	i32 ends[2], i;
	u8 word = 0;
	struct iovec part = {&word, 1};
	struct rights r = {RIGHTS_HEAD + sizeof(i32), SOL_SOCKET, SCM_RIGHTS, {0}};
	struct msghdr m = {0, 0, &part, 1, &r, RIGHTS_HEAD + 2 * sizeof(i32), 0};
	step("make a terminal", terminal_make(w.rows, w.cols, ends));
	r.files[0] = ends[1];
	step("hand over its terminal", SYS3(sendmsg, COMMAND_FD, &m, 0));
	for (i = 0; i < 3; i++)
		step("connect streams", SYS3(dup3, ends[0], i, 0));
	SYS1(close, ends[0]);
	SYS1(close, ends[1]);
}

static int same_name(const char *a, const char *b)
{
	while (*a && *a == *b && *a != '=')
		a++, b++;
	return *a == '=' && *b == '=';
}

static int has(char **list, const char *entry)
{
	for (; *list; list++)
		if (same_name(*list, entry))
			return 1;
	return 0;
}

/* The task's variables, but for those that the command has of its own. */
static void inherit(char **own, u32 terminal)
{
	static char term[] = "TERM=xterm";
	char **more = S.spec.envp, **all, **at;
	u64 n = 2;
	for (at = own; *at; at++)
		n++;
	for (at = more; *at; at++)
		n++;
	S.spec.envp = all = room(n * sizeof(char *));
	if (terminal && !has(own, term) && !has(more, term))
		*all++ = term;
	for (at = own; *at; at++)
		if (!has(more, *at))
			*all++ = *at;
	for (at = more; *at; at++)
		*all++ = *at;
	*all = 0;
}

static void beside(void)
{
	char **own = S.spec.envp;
	struct streams w;
	S.spec.hold = 0;
	call_driver();
	join(1);
	if (S.view_fd) {
		step("enter its view", SYS2(setns, S.view_fd, CLONE_NEWNS));
		step("enter its view", SYS2(setns, S.ipc_fd, CLONE_NEWIPC));
	}
	close_from(COMMAND_FD + 1);
	w = hear_streams();
	own_keys();
	settle();
	become_user();
	share_enter();
	step("forbid new privileges", SYS5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	die_with_shim();
	if (w.terminal)
		give_terminal(w);
	command_hear();
	inherit(own, w.terminal);
	command_attend();
}

/* Begins one; it calls the driver that listens under this number. */
i64 beside_start(u64 number)
{
	i64 pid;
	if (S.spec.box.dir)
		return -EINVAL; /* there a runtime begins it */
	line = number;
	pid = sys_spawn(NR_clone, SIGCHLD, (long)(stack + sizeof stack), beside);
	if (pid > 0 && S.frozen)
		tree_freeze(); /* it is one more to be still */
	return pid < 0 ? pid : 0;
}
