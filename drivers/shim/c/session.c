/* What runs in a virtual machine by order of its monitor: the task's command, more beside it, and connections to its ports. */
#include "guest.h"

struct session sessions[SESSIONS_MAX];

static struct start wanted;
static i32 ends[6]; /* of pipes: what the child reads, then what it writes, each with our end; or a terminal */

struct session *session_of(u32 channel)
{
	u32 i;
	for (i = 0; i < SESSIONS_MAX; i++)
		if (sessions[i].used && sessions[i].channel == channel)
			return &sessions[i];
	return 0;
}

static struct session *session_new(u32 channel)
{
	u32 i;
	for (i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &sessions[i];
		if (s->used)
			continue;
		memset(s, 0, sizeof *s - WINDOW);
		s->used = 1, s->channel = channel, s->credit = WINDOW;
		s->in = s->out = s->err = -1;
		return s;
	}
	tell_end(channel, EAGAIN, 0, "find room for another command");
	return 0;
}

static void let_go(i32 *fd)
{
	if (*fd >= 0)
		SYS1(close, *fd);
	*fd = -1;
}

static void shut(struct session *s)
{
	i32 out = s->out;
	if (s->in == out)
		s->in = -1; /* a terminal or a connection is one */
	let_go(&s->in);
	let_go(&s->out);
	let_go(&s->err);
}

static void child(void)
{
	const char *group = machine_cgroup();
	int i;
	if (*group)
		step("join cgroup", -cgroup_put(group, "cgroup.procs", "0"));
	step("make session", SYS0(setsid));
	for (i = 0; i < 3; i++)
		step("connect streams", SYS3(dup3, wanted.terminal ? ends[0] : ends[2 * i], i, 0));
	if (wanted.terminal)
		step("take the terminal", SYS3(ioctl, 0, TIOCSCTTY, 0));
	settle();
	become_user();
	step("forbid new privileges", SYS5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	execute();
}

static i64 pipes(void)
{
	i64 e = SYS2(pipe2, ends, O_CLOEXEC);
	int i;
	for (i = 1; i < 3 && e >= 0; i++) {
		i32 made[2];
		e = SYS2(pipe2, made, O_CLOEXEC);
		ends[2 * i] = made[1], ends[2 * i + 1] = made[0];
	}
	for (i = 1; i < 6 && e >= 0; i += 2)
		SYS3(fcntl, ends[i], F_SETFL, O_NONBLOCK);
	return e;
}

static void close_theirs(void)
{
	int i;
	for (i = 0; i < 6; i += 2)
		let_go(&ends[i]);
}

/* From here on the task has run, whatever becomes of it. */
static void begun(u32 channel)
{
	if (channel == 1)
		tell(channel, TELL_BEGUN, "", 0);
}

void session_start(u32 channel, char *data)
{
	struct session *s = session_new(channel);
	char **lists;
	i64 e;
	int i;
	if (!s)
		return;
	memcpy(&wanted, data, sizeof wanted);
	if (!wanted.request.argc) { /* it holds the place until a signal comes */
		begun(channel);
		return;
	}
	for (i = 0; i < 6; i++)
		ends[i] = -1;
	lists = request_take(&wanted.request, data + sizeof wanted);
	S.spec.uid = wanted.uid, S.spec.gid = wanted.gid, S.spec.set_user = 1;
	S.child_errno = 0;
	e = wanted.terminal ? terminal_make(wanted.rows, wanted.cols, ends) : pipes();
	if (e < 0) {
		S.child_errno = (i32)-e, S.child_step = "make streams";
	} else {
		e = spawn_vfork(0, child);
		if (e < 0)
			S.child_errno = (i32)-e, S.child_step = "create process";
	}
	close_theirs();
	SYS2(munmap, lists, lists_bytes(&wanted.request));
	s->pid = e > 0 ? (i32)e : 0;
	s->in = ends[1], s->terminal = wanted.terminal;
	s->out = wanted.terminal ? ends[1] : ends[3];
	s->err = wanted.terminal ? -1 : ends[5];
	if (S.child_errno) { /* the child, if there was one, is reaped and told to nobody */
		s->used = 0;
		shut(s);
		tell_end(channel, S.child_errno, 0, S.child_step);
		return;
	}
	begun(channel);
}

void session_connect(u32 channel, u32 port)
{
	struct { unsigned short family, port; u32 address; u64 zero; } to = {2, (unsigned short)((port & 255) << 8 | port >> 8), 0x0100007f, 0};
	struct session *s = session_new(channel);
	i64 fd, e;
	if (!s)
		return;
	fd = SYS3(socket, 2, SOCK_STREAM | O_CLOEXEC, 0);
	e = fd < 0 ? fd : SYS3(connect, fd, &to, sizeof to); /* on this machine's loopback: it is refused at once, or taken */
	if (e < 0) {
		if (fd >= 0)
			SYS1(close, fd);
		s->used = 0;
		tell_end(channel, (i32)-e, 0, "connect");
		return;
	}
	SYS3(fcntl, fd, F_SETFL, O_NONBLOCK);
	s->connects = 1, s->exited = 1;
	s->in = s->out = (i32)fd;
}

void session_input(struct session *s, const u8 *data, u64 n)
{
	while (n && s->held < WINDOW) {
		s->input[(s->from + s->held++) % WINDOW] = *data++;
		n--;
	}
	session_write(s);
}

static void input_over(struct session *s)
{
	static const u8 end = 4; /* as typed by people */
	s->held = 0;
	if (s->in < 0)
		return;
	if (s->connects) {
		SYS2(shutdown, s->in, 1);
		if (s->out < 0)
			SYS1(close, s->in);
	} else if (s->in == s->out)
		SYS3(write, s->in, &end, 1);
	else
		SYS1(close, s->in);
	s->in = -1;
}

void session_write(struct session *s)
{
	u32 passed = 0;
	while (s->held && s->in >= 0) {
		u32 piece = WINDOW - s->from < s->held ? WINDOW - s->from : s->held;
		i64 n = SYS3(write, s->in, s->input + s->from, piece);
		if (n == -EAGAIN)
			break;
		if (n <= 0) { /* nobody reads there any more, and what comes is dropped */
			passed += s->held;
			input_over(s);
			break;
		}
		s->from = (s->from + (u32)n) % WINDOW, s->held -= (u32)n;
		passed += (u32)n;
	}
	if (s->in < 0) {
		passed += s->held;
		s->held = 0;
	}
	if (passed)
		tell(s->channel, TELL_CREDIT, &passed, sizeof passed);
	if (s->in_ended && !s->held)
		input_over(s);
}

void session_read(struct session *s, int errors)
{
	static u8 piece[PIECE];
	i32 *fd = errors ? &s->err : &s->out;
	u64 most = s->credit - FRAME_COST;
	i64 n;
	if (s->credit <= FRAME_COST)
		return;
	n = SYS3(read, *fd, piece, most < PIECE ? most : PIECE);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) { /* a terminal that nobody has any more says EIO */
		if (fd == &s->out && s->connects)
			tell(s->channel, TELL_OUT_END, "", 0);
		if (*fd == s->in && s->connects)
			*fd = -1; /* the other direction may go on */
		else {
			if (*fd == s->in)
				s->in = -1;
			let_go(fd);
		}
		return;
	}
	s->credit -= (u32)n + FRAME_COST;
	tell(s->channel, errors ? TELL_ERR : TELL_OUT, piece, (u64)n);
}

#define LINGER 200000000UL /* in which what a command wrote last comes through its terminal */

static int lingers(const struct session *s)
{
	return s->used && s->exited && s->terminal && s->out >= 0;
}

int session_lingers(void)
{
	u32 i;
	for (i = 0; i < SESSIONS_MAX; i++)
		if (lingers(&sessions[i]))
			return 1;
	return 0;
}

/* Tells the end, when there is nothing more to come. A terminal ends with its command, though what that has begun may keep it. */
void session_settle(struct session *s)
{
	struct used u;
	if (lingers(s)) {
		if (s->credit <= FRAME_COST)
			s->until = now() + LINGER; /* more may have come than may be sent */
		else if (now() >= s->until)
			shut(s);
	}
	if (!s->exited || s->out >= 0 || s->err >= 0 || (s->connects && s->in >= 0))
		return;
	if (s->channel == 1) {
		machine_used(&u);
		tell(1, TELL_USED, &u, sizeof u);
	}
	tell_end(s->channel, 0, s->status, "");
	shut(s);
	s->used = 0;
}

void session_signal(struct session *s, u32 sig, u32 group)
{
	if (s->pid > 0 && !s->exited)
		SYS2(kill, group ? -s->pid : s->pid, sig);
	else if (!s->pid && !s->connects && sig)
		s->status = (i32)sig, s->exited = 1;
}

void session_close(struct session *s)
{
	if (s->pid > 0)
		SYS2(kill, -s->pid, SIGKILL);
	shut(s);
	s->used = 0;
}

void session_reaped(i32 pid, i32 status)
{
	u32 i;
	for (i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &sessions[i];
		if (!s->used || s->pid != pid || s->exited)
			continue;
		s->exited = 1, s->status = status, s->until = now() + LINGER;
		if (s->channel == 1)
			machine_kill(); /* the end of the task is the end of all that it started */
	}
}
