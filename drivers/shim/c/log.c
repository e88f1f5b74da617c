/* The two streams of the task, each into a file: a header, the first bytes, then a ring of the last ones. A file appears with
 * its first byte, and their folder with the first file. The ring has one chunk more than it promises, so a reader never meets the bytes being overwritten. */
#include "shim.h"

struct log_header { u64 magic, version, head, tail, ring, total, dropped, reserved; };

static int log_open(struct stream *s)
{
	struct log_header h = {LOG_MAGIC, VERSION, S.spec.head, S.spec.tail, S.spec.tail + CHUNK, 0, 0, 0};
	static char path[4352];
	char *end = path + sizeof path;
	append(append(append(path, end, S.spec.log_dir), end, "/"), end, s->name);
	s->file = (i32)SYS4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (s->file == -ENOENT) {
		SYS3(mkdirat, AT_FDCWD, S.spec.log_dir, 0700);
		s->file = (i32)SYS4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
	if (s->file < 0)
		return -1;
	if (SYS4(pwrite, s->file, &h, sizeof h, 0) != sizeof h) {
		SYS1(close, s->file);
		s->file = -1;
		return -1;
	}
	return 0;
}

static int put(i32 file, const char *p, u64 n, u64 at)
{
	while (n) {
		i64 w = SYS4(pwrite, file, p, n, at);
		if (w == -EINTR)
			continue;
		if (w <= 0)
			return -1;
		p += w, at += (u64)w, n -= (u64)w;
	}
	return 0;
}

static int store(struct stream *s, const char *p, u64 n)
{
	u64 ring = S.spec.tail + CHUNK, at = s->total;
	while (n) {
		u64 place, room;
		if (at < S.spec.head) {
			place = at, room = S.spec.head - at;
		} else {
			place = (at - S.spec.head) % ring, room = ring - place;
			place += S.spec.head;
		}
		if (room > n)
			room = n;
		if (put(s->file, p, room, sizeof(struct log_header) + place) < 0)
			return -1;
		p += room, at += room, n -= room;
	}
	return 0;
}

/* Copies one chunk; 0 when there is nothing (more) to read. A disk that is full costs the task its log, never its life. */
int log_copy(struct stream *s)
{
	u64 counts[2];
	i64 n;
	if (s->fd < 0)
		return 0;
	n = SYS3(read, s->fd, S.buffer, CHUNK);
	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0) {
		SYS1(close, s->fd);
		s->fd = -1;
		return 0;
	}
	if ((s->file < 0 && log_open(s) < 0) || store(s, S.buffer, (u64)n) < 0)
		s->dropped += (u64)n;
	else
		s->total += (u64)n;
	S.status.log_bytes += (u64)n;
	counts[0] = s->total, counts[1] = s->dropped;
	if (s->file >= 0)
		SYS4(pwrite, s->file, counts, sizeof counts, 40);
	return 1;
}

void log_flush(void)
{
	int i;
	for (i = 0; i < 2; i++)
		while (log_copy(&S.out[i]))
			;
}
