/* The first process of a virtual machine. It takes orders from the monitor beside the machine, over a serial port, and carries
 * the streams of what it starts. The monitor believes nothing of what comes from here. */
#include "guest.h"

static i32 port = -1;
static struct boot booted;

static void nap(void)
{
	struct timespec t = {0, 2000000};
	SYS2(nanosleep, &t, 0);
}

static void put(const void *data, u64 n)
{
	const u8 *p = data;
	while (n) {
		i64 done = SYS3(write, port, p, n);
		if (done <= 0) {
			nap(); /* nobody is there: the machine is being suspended, or ends */
			continue;
		}
		p += done, n -= (u64)done;
	}
}

static void get(void *data, u64 n)
{
	u8 *p = data;
	while (n) {
		i64 done = SYS3(read, port, p, n);
		if (done <= 0) {
			nap();
			continue;
		}
		p += done, n -= (u64)done;
	}
}

void tell2(u32 channel, u32 kind, const void *a, u64 an, const void *b, u64 bn)
{
	static u8 whole[sizeof(struct frame) + PIECE + 8192];
	struct frame f = {(u32)(an + bn), (unsigned short)channel, (u8)kind, 0};
	memcpy(whole, &f, sizeof f);
	memcpy(whole + sizeof f, a, an);
	memcpy(whole + sizeof f + an, b, bn);
	put(whole, sizeof f + an + bn);
}

void tell(u32 channel, u32 kind, const void *data, u64 bytes)
{
	tell2(channel, kind, data, bytes, "", 0);
}

void tell_end(u32 channel, i32 error, i32 status, const char *what)
{
	struct answer a = {error, status, {0}};
	append(a.step, a.step + sizeof a.step, what);
	tell(channel, TELL_EXIT, &a, sizeof a);
}

static void boot(char *data)
{
	static char said[512]; /* by the kernel, of what failed */
	struct answer a = {0, 0, {0}};
	memcpy(&booted, data, sizeof booted);
	if (machine_boot(&booted, data + sizeof booted, said, said + sizeof said) < 0) {
		a.error = S.child_errno;
		append(a.step, a.step + sizeof a.step, S.child_step);
	}
	tell2(0, TELL_READY, &a, sizeof a, said, length(said));
}

static u32 word(const char *data)
{
	u32 w;
	memcpy(&w, data, sizeof w);
	return w;
}

/* A file's name, its zero, and what is in it. */
static void notice(const char *data, u64 bytes)
{
	u64 name = length(data) + 1;
	if (name <= bytes)
		machine_notice(data, data + name, bytes - name);
}

static void obey(struct frame *f, char *data)
{
	struct session *s = session_of(f->channel);
	switch (f->kind) {
	case ASK_BOOT: boot(data); return;
	case ASK_START: session_start(f->channel, data); return;
	case ASK_CONNECT: session_connect(f->channel, word(data)); return;
	case ASK_SYNC: tell(0, TELL_SYNCED, "", 0); return;
	case ASK_ENTRY: files_entry(data, f->bytes, booted.uid, booted.gid); return;
	case ASK_GIVE: files_give(f->channel); return;
	case ASK_NOTICE: notice(data, f->bytes); return;
	case ASK_DATA:
		if (s)
			session_input(s, (u8 *)data, f->bytes);
		else
			files_data(data, f->bytes);
		return;
	case ASK_END:
		if (s) {
			s->in_ended = 1;
			session_write(s);
		} else {
			files_end(f->channel);
		}
		return;
	}
	if (!s)
		return; /* it has just ended */
	switch (f->kind) {
	case ASK_SIGNAL: session_signal(s, word(data), word(data + 4)); return;
	case ASK_CREDIT: s->credit += word(data); return;
	case ASK_CLOSE: session_close(s); return;
	case ASK_SIZE:
		if (s->in >= 0) {
			unsigned short size[4] = {(unsigned short)word(data), (unsigned short)word(data + 4), 0, 0};
			SYS3(ioctl, s->in, TIOCSWINSZ, size);
		}
		return;
	}
}

/* One order. What comes is as long as the monitor wants, for it has to know what it asks for. */
static void hear(void)
{
	static char *room;
	static u64 size;
	struct frame f;
	get(&f, sizeof f);
	if (f.bytes + 8UL > size) {
		i64 more = SYS6(mmap, 0, f.bytes + 65536UL, PROT_RW, MAP_PRIVATE_ANONYMOUS, -1, 0);
		if (more < 0 && more > -4096)
			SYS1(exit_group, 1); /* at which the kernel gives up, and says so */
		room = (char *)more;
		size = f.bytes + 65536UL;
	}
	get(room, f.bytes);
	memset(room + f.bytes, 0, 8); /* texts have an end */
	obey(&f, room);
}

static void reap(void)
{
	i32 status;
	i64 pid;
	while ((pid = SYS4(wait4, -1, &status, WNOHANG, 0)) > 0)
		session_reaped((i32)pid, status);
}

static void open_port(void)
{
	int tries;
	for (tries = 0; tries < 5000 && port < 0; tries++) {
		port = (i32)SYS4(openat, AT_FDCWD, "/dev/vport0p1", O_RDWR | O_CLOEXEC, 0);
		if (port < 0)
			nap();
	}
	if (port < 0)
		SYS1(exit_group, 2);
}

/* How a descriptor of a session is waited for: output only as far as it may be sent. */
static void watch(struct pollfd *p, i32 fd, short events)
{
	p->fd = events ? fd : -1;
	p->events = events;
	p->revents = 0;
}

static void attend(struct pollfd *p)
{
	u32 i;
	for (i = 0; i < SESSIONS_MAX; i++, p += 3) {
		struct session *s = &sessions[i];
		if (!s->used)
			continue;
		if (p[0].revents && s->in >= 0)
			session_write(s);
		if (p[1].revents && s->out >= 0)
			session_read(s, 0);
		if (p[2].revents && s->err >= 0)
			session_read(s, 1);
		session_settle(s);
	}
}

void guest(void)
{
	static struct pollfd p[2 + 3 * SESSIONS_MAX];
	u64 heard = 1UL << (SIGCHLD - 1), all = ~0UL;
	u32 i;
	machine_early();
	open_port();
	SYS4(rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	S.signal_fd = (i32)SYS4(signalfd4, -1, &heard, 8, O_CLOEXEC | O_NONBLOCK);
	tell(0, TELL_HELLO, "", 0);
	for (;;) {
		struct timespec moment = {0, 50000000};
		watch(&p[0], port, POLLIN);
		watch(&p[1], S.signal_fd, POLLIN);
		for (i = 0; i < SESSIONS_MAX; i++) {
			struct session *s = &sessions[i];
			short reads = s->used && s->credit > FRAME_COST ? POLLIN : 0;
			watch(&p[2 + 3 * i], s->in, s->used && s->in >= 0 && s->held ? POLLOUT : 0);
			watch(&p[3 + 3 * i], s->out, s->out >= 0 ? reads : 0);
			watch(&p[4 + 3 * i], s->err, s->err >= 0 ? reads : 0);
		}
		SYS5(ppoll, p, 2 + 3 * SESSIONS_MAX, session_lingers() ? &moment : 0, 0, 8);
		if (p[1].revents && signalled() >= 0)
			reap();
		if (p[0].revents & POLLIN)
			hear();
		else if (p[0].revents)
			nap(); /* nobody at the other end */
		attend(p + 2); /* last: an order may have been the last thing that a session waited for */
	}
}
