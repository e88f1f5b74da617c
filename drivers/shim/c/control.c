/* Commands from the driver: it writes one behind the lease, gives a signal, and finds the answer in the status file. */
#include "shim.h"

static i64 stop(struct orders *m)
{
	u64 delay = m->arg ? m->arg : S.spec.kill_ms;
	u64 at;
	if (S.frozen || !delay) {
		kill_for(STOPPED);
		return 0;
	}
	tree_signal(m->signal ? (i32)m->signal : SIGTERM);
	at = now() + delay * 1000000UL;
	if (!S.stop_sent || at < S.kill_at) /* repeating a stop must not put off its end */
		S.kill_at = at;
	S.stop_sent = 1;
	return 0;
}

static i64 obey(struct orders *m)
{
	switch (m->kind) {
	case CMD_SIGNAL:
		if (m->signal == 0 || m->signal > 64)
			return -EINVAL;
		return SYS2(kill, m->group ? -S.main_pid : S.main_pid, m->signal);
	case CMD_FREEZE:
		freeze_add(BY_CONTROL);
		return 0;
	case CMD_THAW:
		freeze_drop(BY_CONTROL);
		return 0;
	case CMD_STOP:
		return stop(m);
	case CMD_KILL:
		kill_for(m->arg == DISK ? DISK : STOPPED);
		return 0;
	case CMD_LEASE: /* the file is the truth; this only says that it changed */
		lease_read();
		time_passed();
		return 0;
	case CMD_EXEC:
		return beside_start(m->arg);
	}
	return -EINVAL;
}

void control_read(void)
{
	struct orders o;
	i64 e;
	if (!orders_read(&o) || !o.seq || o.seq == S.obeyed)
		return;
	S.obeyed = o.seq;
	e = S.main_done ? -ESRCH : obey(&o);
	S.status.ack = o.seq;
	S.status.ack_errno = e < 0 ? (i32)-e : 0;
	publish();
}
