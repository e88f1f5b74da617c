/* The work folder's way into a virtual machine and out of it: plain files, folders and links, each told by an entry. */
#include "guest.h"

#define WORK "/work"
#define DEPTH_MAX 200

static i32 into = -1; /* the file that is being filled */
static i32 wrong;     /* the first failure */

static void note(i64 e)
{
	if (e < 0 && !wrong)
		wrong = (i32)-e;
}

static void close_file(void)
{
	if (into >= 0)
		SYS1(close, into);
	into = -1;
}

void files_entry(char *data, u64 bytes, u32 uid, u32 gid)
{
	struct entry e;
	static char path[8300];
	char *name = data + sizeof e;
	(void)bytes;
	memcpy(&e, data, sizeof e);
	close_file();
	append(append(append(path, path + sizeof path, WORK), path + sizeof path, "/"), path + sizeof path, name);
	if (e.type == FOLDER) {
		note(SYS3(mkdirat, AT_FDCWD, path, e.mode));
	} else if (e.type == LINK) {
		note(SYS3(symlinkat, name + length(name) + 1, AT_FDCWD, path));
	} else {
		into = (i32)SYS4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e.mode);
		note(into);
	}
	SYS5(fchownat, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
	if (e.type != LINK)
		SYS3(fchmodat, AT_FDCWD, path, e.mode);
}

void files_data(const char *data, u64 n)
{
	while (n && into >= 0) {
		i64 done = SYS3(write, into, data, n);
		if (done == -EINTR)
			continue;
		if (done <= 0) {
			note(done ? done : -EIO);
			close_file();
			return;
		}
		data += done, n -= (u64)done;
	}
}

void files_end(u32 channel)
{
	close_file();
	tell_end(channel, wrong, 0, "fill the work folder");
}

static char path[8300]; /* of what is being given, below the work folder */

static void give_file(u32 channel, i32 folder, const char *name)
{
	static char piece[PIECE];
	i64 n, fd = SYS4(openat, folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	while ((n = SYS3(read, fd, piece, sizeof piece)) > 0)
		tell(channel, TELL_OUT, piece, (u64)n);
	SYS1(close, fd);
}

static void give_folder(u32 channel, i32 folder, u32 depth);

static void give(u32 channel, i32 folder, const char *name, u32 depth)
{
	static char texts[8300 + 4200];
	struct statx st;
	struct entry e = {0, PLAIN, 0};
	char *to = append(texts, texts + 8300, path) + 1;
	*to = 0;
	if (SYS5(statx, folder, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC, &st) < 0)
		return;
	e.mode = st.mode & 07777u;
	e.bytes = st.size;
	if ((st.mode & S_IFMT) == S_IFDIR) {
		e.type = FOLDER;
	} else if ((st.mode & S_IFMT) == S_IFLNK) {
		i64 n = SYS4(readlinkat, folder, name, to, 4096);
		e.type = LINK;
		to[n > 0 ? n : 0] = 0;
	} else if ((st.mode & S_IFMT) != S_IFREG) {
		return; /* what is neither means nothing outside */
	}
	tell2(channel, TELL_ENTRY, &e, sizeof e, texts, (u64)(to - texts) + length(to) + 1);
	if (e.type == PLAIN)
		give_file(channel, folder, name);
	if (e.type == FOLDER && depth < DEPTH_MAX) {
		i64 fd = SYS4(openat, folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		if (fd < 0)
			return;
		give_folder(channel, (i32)fd, depth + 1);
		SYS1(close, fd);
	}
}

static void give_folder(u32 channel, i32 folder, u32 depth)
{
	u8 entries[2048] __attribute__((aligned(8))); /* one for each depth */
	u64 here = length(path);
	i64 n, at;
	while ((n = SYS3(getdents64, folder, entries, sizeof entries)) > 0) {
		for (at = 0; at < n;) {
			struct dirent *d = (struct dirent *)(entries + at);
			char *to = path + here, *end = path + sizeof path;
			at += d->reclen;
			if (same(d->name, ".") || same(d->name, ".."))
				continue;
			if (here + length(d->name) + 2 >= 4096)
				continue; /* nobody could open it outside */
			append(here ? append(to, end, "/") : to, end, d->name);
			give(channel, folder, d->name, depth);
			path[here] = 0;
		}
	}
}

void files_give(u32 channel)
{
	i64 fd = SYS4(openat, AT_FDCWD, WORK, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	path[0] = 0;
	if (fd >= 0) {
		give_folder(channel, (i32)fd, 0);
		SYS1(close, fd);
	}
	tell_end(channel, fd < 0 ? (i32)-fd : 0, 0, "read the work folder");
}
