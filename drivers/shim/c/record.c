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

/* Without the sync a machine that loses power could keep the name and lose the bytes. On a full disk there may be no room for a
 * new file, but the status file's blocks exist: then the record goes there. */
void write_exit_record(void)
{
	i64 fd, whole = 0;
	S.status.state = EXITED;
	seal();
	fd = SYS4(openat, AT_FDCWD, "exit.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0) {
		whole = SYS3(write, fd, &S.status, S.status.size) == (i64)S.status.size && SYS1(fsync, fd) == 0 &&
			SYS4(renameat, AT_FDCWD, "exit.new", AT_FDCWD, "exit") == 0;
		SYS1(close, fd);
	}
	if (!whole)
		publish();
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
