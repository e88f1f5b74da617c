/* The task's processes as a whole: its own process group, and all descendants. With a control group the kernel knows them;
 * without, they are those whose chain of parents leads to this shim, which adopts whatever loses its parent. */
#include "shim.h"

static i64 stat_field(u64 pid, char *state)
{
	char name[32], text[512], *p;
	i64 n, fd;
	p = append(name, name + sizeof name, "/proc/");
	p = append_number(p, name + sizeof name, pid);
	append(p, name + sizeof name, "/stat");
	fd = SYS4(openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	n = SYS3(read, fd, text, sizeof text - 1);
	SYS1(close, fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	for (p = text + n; p > text && *p != ')'; p--) /* a command may be named anything, ")" included */
		;
	if (p == text || p + 4 > text + n)
		return 0;
	*state = p[2];
	return (i64)number(p + 4);
}

static int descends(u64 pid)
{
	char state;
	while (pid > 1) {
		i64 parent = stat_field(pid, &state);
		if (parent == S.status.shim_pid)
			return 1;
		if (parent <= 1)
			return 0;
		pid = (u64)parent;
	}
	return 0;
}

/* Signals every descendant that is not in the state given already; returns how many. */
static u32 each_descendant(i32 sig, char except)
{
	static u8 entries[8192] __attribute__((aligned(8)));
	u32 sent = 0;
	i64 n, at, fd = SYS4(openat, AT_FDCWD, "/proc", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	while ((n = SYS3(getdents64, fd, entries, sizeof entries)) > 0) {
		for (at = 0; at < n;) {
			struct dirent *d = (struct dirent *)(entries + at);
			char state = 0;
			at += d->reclen;
			if (d->name[0] < '1' || d->name[0] > '9')
				continue;
			if (!stat_field(number(d->name), &state) || state == except || state == 'Z' || !descends(number(d->name)))
				continue;
			if (SYS2(kill, number(d->name), sig) == 0)
				sent++;
		}
	}
	SYS1(close, fd);
	return sent;
}

/* The leader is not waited for while the task lives, so its number, and with it the group's, cannot be another's. */
void tree_signal(i32 sig)
{
	if (S.main_pid > 0 && !S.main_done)
		SYS2(kill, -S.main_pid, sig);
}

void tree_kill(void)
{
	const char *unified = cgroup_dir('2'), *freezer = cgroup_dir('f');
	tree_signal(SIGKILL);
	if (S.init_pid > 0) /* the kernel kills the whole namespace with it */
		SYS2(kill, S.init_pid, SIGKILL);
	if (unified && cgroup_put(unified, "cgroup.kill", "1") == 0)
		return;
	each_descendant(SIGKILL, 'Z');
	if (freezer)
		cgroup_put(freezer, "freezer.state", "THAWED"); /* version 1 lets the dead go only when thawed */
	if (unified && S.frozen)
		cgroup_put(unified, "cgroup.freeze", "0");
}

void tree_freeze(void)
{
	const char *unified = cgroup_dir('2'), *freezer = cgroup_dir('f');
	u32 rounds;
	if (unified && cgroup_put(unified, "cgroup.freeze", "1") == 0)
		return;
	if (freezer && cgroup_put(freezer, "freezer.state", "FROZEN") == 0)
		return;
	tree_signal(SIGSTOP);
	for (rounds = 0; rounds < 20 && each_descendant(SIGSTOP, 'T'); rounds++) /* again for those forked meanwhile */
		;
}

void tree_thaw(void)
{
	const char *unified = cgroup_dir('2'), *freezer = cgroup_dir('f');
	if (unified && cgroup_put(unified, "cgroup.freeze", "0") == 0)
		return;
	if (freezer && cgroup_put(freezer, "freezer.state", "THAWED") == 0)
		return;
	each_descendant(SIGCONT, 0);
}
