/* Time: the lease, the freezes, the delay before a kill, and whether anybody can still ask. All of it on CLOCK_BOOTTIME, which counts a sleeping machine. */
#include "shim.h"

#define RELOOK 250000000UL /* how often a frozen task's lease is looked at when nobody sends a message */
#define KNOWN 20000000000UL /* how often it is looked whether the task is still known */

/* A lapsed lease outranks a command: that time is free, paused time is not. */
static u32 span_cause(u32 mask)
{
	return mask & BY_LEASE ? BY_LEASE : mask;
}

static void frozen_changed(u32 mask)
{
	u32 before = span_cause(S.frozen), after = span_cause(mask);
	u64 at = now();
	S.frozen = mask;
	if (before == after)
		return;
	if (!before)
		tree_freeze();
	else
		span_end(at);
	if (after)
		span_begin(after, at);
	else
		tree_thaw();
	S.status.state = after ? FROZEN : RUNNING;
	publish();
}

void freeze_add(u32 cause)
{
	if (cause == BY_LEASE && !(S.frozen & BY_LEASE))
		S.lease_frozen_at = now();
	frozen_changed(S.frozen | cause);
}

void freeze_drop(u32 cause)
{
	frozen_changed(S.frozen & ~cause);
}

void kill_for(u32 cause)
{
	if (!S.killed_for)
		S.killed_for = cause;
	S.kill_at = 0;
	tree_kill();
}

int orders_read(struct orders *o)
{
	i64 n, fd = SYS4(openat, AT_FDCWD, S.lease_path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	o->seq = 0;
	n = SYS4(pread, fd, o, sizeof *o, 0);
	SYS1(close, fd);
	return n >= (i64)sizeof o->until;
}

void lease_read(void)
{
	struct orders o;
	if (S.spec.has_lease && orders_read(&o) && o.until)
		S.lease_until = o.until;
}

/* A status file without a name is found by no driver any more: nobody could renew the task's lease, end it, or learn how it
 * ended, and it would hold what it has for ever. */
static int forgotten(void)
{
	struct statx st;
	return SYS5(statx, STATUS_FD, "", AT_EMPTY_PATH, STATX_BASIC, &st) == 0 && !st.nlink;
}

void time_passed(void)
{
	u64 at = now();
	if (S.main_done)
		return;
	if (forgotten()) {
		kill_for(STOPPED);
		return;
	}
	if (S.kill_at && at >= S.kill_at) {
		kill_for(STOPPED);
		return;
	}
	if (!S.spec.has_lease || S.killed_for)
		return;
	if (at >= S.lease_until || S.frozen & BY_LEASE)
		lease_read();
	if (at < S.lease_until) {
		freeze_drop(BY_LEASE);
		return;
	}
	freeze_add(BY_LEASE);
	at = now();
	if (S.stop_sent || (S.spec.grace_ms && at - S.lease_frozen_at >= S.spec.grace_ms * 1000000UL))
		kill_for(S.stop_sent ? STOPPED : LEASE);
}

void timer_set(void)
{
	struct itimerspec t = {{0, 0}, {0, 0}};
	u64 next = now() + KNOWN;
	if (S.timer_fd < 0)
		return;
	if (S.kill_at && S.kill_at < next)
		next = S.kill_at;
	if (S.spec.has_lease && !S.killed_for) {
		u64 at = S.frozen & BY_LEASE ? now() + RELOOK : S.lease_until;
		if (S.frozen & BY_LEASE && S.spec.grace_ms && S.lease_frozen_at + S.spec.grace_ms * 1000000UL < at)
			at = S.lease_frozen_at + S.spec.grace_ms * 1000000UL;
		if (at < next)
			next = at;
	}
	t.value.sec = (i64)(next / 1000000000UL);
	t.value.nsec = (i64)(next % 1000000000UL);
	SYS4(timerfd_settime, S.timer_fd, TFD_TIMER_ABSTIME, &t, 0);
}
