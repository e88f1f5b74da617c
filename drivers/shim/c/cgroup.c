/* Control groups, version 2 and 1 side by side: the driver says which folders to make and what to write, this does it. */
#include "shim.h"

static const char *path(const char *dir, const char *file)
{
	static char joined[4352];
	char *end = joined + sizeof joined, *p = append(joined, end, dir);
	p = append(p, end, "/");
	append(p, end, file);
	return joined;
}

const char *cgroup_dir(char kind)
{
	u32 i;
	for (i = 0; i < S.spec.cgroup_count; i++)
		if (S.spec.cgroups[i].kind == kind)
			return S.spec.cgroups[i].dir;
	return 0;
}

int cgroup_put(const char *dir, const char *file, const char *value)
{
	i64 n, fd = SYS4(openat, AT_FDCWD, path(dir, file), O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return (int)-fd;
	n = SYS3(write, fd, value, length(value));
	SYS1(close, fd);
	return n < 0 ? (int)-n : 0;
}

/* The number in a file; with a key, the number behind that key at the start of a line. 0 if there is none. */
u64 cgroup_number(const char *dir, const char *file, const char *key)
{
	char *p = S.buffer, *end;
	i64 n, fd = SYS4(openat, AT_FDCWD, path(dir, file), O_RDONLY | O_CLOEXEC, 0);
	u64 k;
	if (fd < 0)
		return 0;
	n = SYS3(read, fd, S.buffer, 4095);
	SYS1(close, fd);
	if (n <= 0)
		return 0;
	S.buffer[n] = 0;
	if (!key)
		return number(p);
	end = p + n;
	for (k = length(key); p < end; p++) {
		u64 i = 0;
		while (i < k && p[i] == key[i])
			i++;
		if (i == k && p[k] == ' ')
			return number(p + k + 1);
		while (p < end && *p != '\n')
			p++;
	}
	return 0;
}

/* A folder left by a task of the same name that was cut short is empty or busy; only an empty one is replaced, since its
 * counters would be the old task's. */
int cgroups_make(void)
{
	u32 i;
	for (i = 0; i < S.spec.cgroup_count; i++) {
		const char *dir = S.spec.cgroups[i].dir;
		i64 e = SYS3(mkdirat, AT_FDCWD, dir, 0755);
		if (e == -EEXIST) {
			SYS3(unlinkat, AT_FDCWD, dir, AT_REMOVEDIR);
			e = SYS3(mkdirat, AT_FDCWD, dir, 0755);
		}
		if (e < 0) {
			S.spec.cgroup_count = i;
			fail("make cgroup", dir, (i32)-e);
			return -1;
		}
	}
	for (i = 0; i < S.spec.write_count; i++) {
		struct cgroup_write *w = &S.spec.writes[i];
		const char *file = w->file;
		int optional = *file == '?', e;
		if (optional)
			file++;
		e = cgroup_put(S.spec.cgroups[w->cgroup].dir, file, w->value);
		if (e && !optional) {
			fail("set limit", path(S.spec.cgroups[w->cgroup].dir, file), e);
			return -1;
		}
	}
	return 0;
}

/* A process leaves its group a moment after it was waited for, so a busy folder is tried again, for a second in all. */
void cgroups_remove(void)
{
	u32 i;
	for (i = 0; i < S.spec.cgroup_count; i++) {
		struct timespec pause = {0, 20000};
		while (SYS3(unlinkat, AT_FDCWD, S.spec.cgroups[i].dir, AT_REMOVEDIR) == -EBUSY && pause.nsec < 500000000) {
			SYS2(nanosleep, &pause, 0);
			pause.nsec *= 2;
		}
	}
}

static void struck(u32 limit, u64 times)
{
	if (times)
		S.status.struck |= limit;
}

void cgroups_account(void)
{
	const char *unified = cgroup_dir('2'), *memory = cgroup_dir('m'), *pids = cgroup_dir('p'), *acct = cgroup_dir('a');
	struct status *s = &S.status;
	s->cpu_us = s->memory_peak = 0;
	if (unified) {
		s->cpu_us = cgroup_number(unified, "cpu.stat", "usage_usec");
		struck(STRUCK_MEMORY, cgroup_number(unified, "memory.events", "oom_kill"));
		struck(STRUCK_PIDS, cgroup_number(unified, "pids.events", "max"));
		s->memory_peak = cgroup_number(unified, "memory.peak", 0);
		s->pids_peak = cgroup_number(unified, "pids.peak", 0);
	}
	if (acct && !s->cpu_us)
		s->cpu_us = cgroup_number(acct, "cpuacct.usage", 0) / 1000;
	if (memory) {
		s->memory_peak = cgroup_number(memory, "memory.max_usage_in_bytes", 0);
		struck(STRUCK_MEMORY, cgroup_number(memory, "memory.oom_control", "oom_kill"));
	}
	if (pids) {
		s->pids_peak = cgroup_number(pids, "pids.peak", 0);
		struck(STRUCK_PIDS, cgroup_number(pids, "pids.events", "max"));
	}
	if (s->cpu_us < S.rusage_us)
		s->cpu_us = S.rusage_us;
	if (!s->memory_peak)
		s->memory_peak = S.rusage_peak;
}
