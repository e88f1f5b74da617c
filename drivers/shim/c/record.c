/* The status file, rewritten in place, and the exit record, which appears whole or not at all. */
#include "shim.h"

u64 now(void)
{
	struct timespec t;
	SYS2(clock_gettime, CLOCK_BOOTTIME, &t);
	return (u64)t.sec * 1000000000UL + (u64)t.nsec;
}

static void seal(void)
{
	struct status *s = &S.status;
	const u8 *p = (const u8 *)&s->state, *end;
	u64 h = 0xcbf29ce484222325UL;
	s->magic = MAGIC;
	s->version = VERSION;
	s->size = (u32)(sizeof *s - (SPANS_MAX - s->span_count) * sizeof(struct span));
	end = (const u8 *)s + s->size;
	while (p < end)
		h = (h ^ *p++) * 0x100000001b3UL;
	s->check = h;
}

void publish(void)
{
	seal();
	SYS4(pwrite, STATUS_FD, &S.status, S.status.size, 0);
}

/* The status file itself becomes the exit record, by rename: no second file has to be made, so none can be refused by a full
 * disk. Not synced on purpose: after a loss of power the task's own files are as doubtful as this one, and "ended well" beside
 * empty outputs would be worse than no record, which means lost. */
void write_exit_record(void)
{
	S.status.state = EXITED;
	publish();
	SYS4(renameat, AT_FDCWD, S.spec.record, AT_FDCWD, S.exit_path);
}

/* When the table is full the last span grows over the gap: a user is never charged for time not worked. */
void span_begin(u32 cause, u64 at)
{
	struct status *s = &S.status;
	struct span *last;
	if (s->span_count < SPANS_MAX) {
		last = &s->spans[s->span_count++];
		last->from = at - s->started;
	} else {
		last = &s->spans[SPANS_MAX - 1];
	}
	last->to = 0;
	last->cause = cause;
}

void span_end(u64 at)
{
	struct status *s = &S.status;
	u64 to = at - s->started;
	if (!s->span_count || s->spans[s->span_count - 1].to)
		return;
	s->spans[s->span_count - 1].to = to ? to : 1;
}
