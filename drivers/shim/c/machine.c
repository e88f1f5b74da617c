/* A virtual machine from its kernel's first process on: modules, mounts, limits, network. */
#include "guest.h"

#define GROUP "/sys/fs/cgroup/task"
#define NOTICES "/run/coinop" /* as containers have them */
#define WARNING 4 /* of the kernel's levels: what is above is no complaint */

static int limited;
static i32 notices = -1; /* the folder of what the task is told, below what the task sees of it */

static i64 mount(const char *what, const char *where, const char *type, u64 flags, const char *options)
{
	SYS3(mkdirat, AT_FDCWD, where, 0755);
	return SYS5(mount, what, where, type, flags, options);
}

/* The modules lie in the order in which they need each other, named by two digits. */
static void load_modules(void)
{
	char name[] = "/modules/00";
	int i;
	for (i = 0; i < 100; i++) {
		i64 fd;
		name[9] = (char)('0' + i / 10), name[10] = (char)('0' + i % 10);
		fd = SYS4(openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
		if (fd < 0)
			return;
		SYS3(finit_module, fd, "", 0);
		SYS1(close, fd);
	}
}

void machine_early(void)
{
	SYS1(umask, 022);
	mount("dev", "/dev", "devtmpfs", MS_NOSUID, 0);
	load_modules();
}

static i64 failed(const char *what, i64 e)
{
	S.child_step = what;
	S.child_errno = (i32)-e;
	return e;
}

/* What the kernel has complained of since the log was opened, for people. */
static void complaints(i32 log, char *said, char *end)
{
	static char record[2048]; /* a level and more, a semicolon, the text, the end of a line */
	char *to = said, *text, *p;
	i64 n;
	while ((n = SYS3(read, log, record, sizeof record - 1)) > 0) {
		record[n] = 0;
		for (text = record; *text && *text != ';'; text++)
			;
		if (!*text || (number(record) & 7) > WARNING)
			continue;
		for (p = ++text; *p && *p != '\n'; p++)
			;
		*p = 0;
		to = append(append(to, end, to > said ? "; " : ""), end, text);
	}
}

/* The first disk is the root, or one of its partitions. What it holds has been looked up outside, by its first bytes. */
static i64 mount_root(u32 partition, const char *type, char *said, char *said_end)
{
	static char disk[32];
	char *end = append(disk, disk + sizeof disk, "/dev/vda");
	i32 log;
	i64 e;
	u32 tries;
	if (partition)
		append_number(end, disk + sizeof disk, partition);
	for (tries = 0; tries < 1000; tries++) { /* it may come a moment after its driver */
		struct timespec t = {0, 2000000};
		i64 fd = SYS4(openat, AT_FDCWD, disk, O_RDONLY | O_CLOEXEC, 0);
		if (fd >= 0) {
			SYS1(close, fd);
			break;
		}
		SYS2(nanosleep, &t, 0);
	}
	log = (i32)SYS4(openat, AT_FDCWD, "/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	SYS3(lseek, log, 0, SEEK_END);
	e = mount(disk, "/root", type, MS_NOATIME, 0);
	if (e < 0)
		complaints(log, said, said_end);
	SYS1(close, log);
	return e < 0 ? failed("mount the image", e) : 0;
}

static void write_file(const char *path, const char *text, u32 flags)
{
	i64 fd = SYS4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0644);
	if (fd < 0)
		return;
	SYS3(write, fd, text, length(text));
	SYS1(close, fd);
}

/* What is mounted on and told must be there, in whatever the image is; only then may its root be closed. */
static i64 furnish(const struct boot *b)
{
	static const char *folders[] = {"/root/dev", "/root/proc", "/root/sys", "/root/etc", "/root/work", "/root/run", "/root" NOTICES};
	i64 e = 0;
	u32 i;
	for (i = 0; i < sizeof folders / sizeof *folders; i++)
		SYS3(mkdirat, AT_FDCWD, folders[i], 0755);
	SYS5(fchownat, AT_FDCWD, "/root/work", b->uid, b->gid, 0);
	write_file("/root/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", O_EXCL);
	if (b->network)
		write_file("/root/etc/resolv.conf", "nameserver 10.0.2.3\n", O_TRUNC);
	if (!b->read_only)
		return 0;
	SYS3(mkdirat, AT_FDCWD, "/own", 0755);
	e = SYS5(mount, "/root", "/own", 0, MS_BIND, 0);
	if (e >= 0)
		e = SYS5(mount, 0, "/root", 0, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOATIME, 0);
	if (e >= 0)
		e = SYS5(mount, "/own/work", "/root/work", 0, MS_BIND, 0); /* the work folder stays open */
	return e < 0 ? failed("make the root read-only", e) : 0;
}

static i64 mounts(u64 shm)
{
	static char size[64];
	char *end = size + sizeof size;
	i64 e;
	append_number(append(append(size, end, "mode=1777"), end, ",size="), end, shm);
	e = SYS5(mount, "/dev", "/root/dev", 0, MS_MOVE, 0);
	if (e < 0)
		return failed("mount /dev", e);
	SYS1(chdir, "/root");
	e = SYS5(mount, ".", "/", 0, MS_MOVE, 0);
	if (e >= 0)
		e = SYS1(chroot, ".");
	if (e >= 0)
		e = SYS1(chdir, "/");
	if (e < 0)
		return failed("enter the image", e);
	e = mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	if (e < 0)
		return failed("mount /proc", e);
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) >= 0)
		mount("cgroup", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
	mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, size);
	SYS3(symlinkat, "/proc/self/fd", AT_FDCWD, "/dev/fd");
	SYS3(symlinkat, "/proc/self/fd/0", AT_FDCWD, "/dev/stdin");
	SYS3(symlinkat, "/proc/self/fd/1", AT_FDCWD, "/dev/stdout");
	SYS3(symlinkat, "/proc/self/fd/2", AT_FDCWD, "/dev/stderr");
	write_file("/proc/sys/vm/overcommit_memory", "1", 0); /* what is too much is told by the limit, as on a larger machine */
	write_file("/proc/sys/vm/dirty_expire_centisecs", "100", 0); /* what is written shows on the disk soon, where it is measured */
	write_file("/proc/sys/vm/dirty_writeback_centisecs", "50", 0);
	return 0;
}

/* The task reads the folder through a mount that is read-only; this process writes to what is under that. */
static i64 notices_open(void)
{
	i64 e = mount("notices", NOTICES, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=1m");
	if (e >= 0)
		e = notices = (i32)SYS4(openat, AT_FDCWD, NOTICES, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (e >= 0)
		e = SYS5(mount, NOTICES, NOTICES, 0, MS_BIND, 0);
	if (e >= 0)
		e = SYS5(mount, 0, NOTICES, 0, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	return e < 0 ? failed("mount " NOTICES, e) : 0;
}

/* A file is replaced as a whole, so nobody reads half of it. */
void machine_notice(const char *name, const char *text, u64 bytes)
{
	i64 fd;
	if (notices < 0)
		return;
	fd = SYS4(openat, notices, ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	SYS3(write, fd, text, bytes);
	SYS1(close, fd);
	SYS4(renameat, notices, ".new", notices, name);
}

static void put_number(const char *file, u64 n)
{
	static char text[32];
	append_number(text, text + sizeof text, n);
	cgroup_put(GROUP, file, text);
}

static i64 limits(const struct boot *b)
{
	i64 e = -cgroup_put("/sys/fs/cgroup", "cgroup.subtree_control", "+memory +pids");
	if (e >= 0)
		e = SYS3(mkdirat, AT_FDCWD, GROUP, 0755);
	if (e < 0)
		return failed("make its cgroup", e);
	limited = 1;
	if (b->memory) {
		put_number("memory.max", b->memory);
		put_number("memory.oom.group", 1);
	}
	if (b->pids)
		put_number("pids.max", b->pids);
	return 0;
}

struct internet { unsigned short family, port; u8 address[4]; u64 zero; };
struct interface { char name[16]; union { struct internet address; short flags; u8 room[24]; } is; };
struct route { u64 pad1; struct internet to, gateway, mask; unsigned short flags, pad2; u64 pad3; u64 pad4; short metric; char *device; u64 mtu, window; unsigned short irtt; };

static void set_address(i64 fd, const char *name, u64 request, u8 a, u8 b, u8 c, u8 d)
{
	struct interface i = {{0}, {{AF_INET, 0, {a, b, c, d}, 0}}};
	append(i.name, i.name + sizeof i.name, name);
	SYS3(ioctl, fd, request, &i);
}

static void set_up(i64 fd, const char *name)
{
	struct interface i = {{0}, {{0, 0, {0}, 0}}};
	append(i.name, i.name + sizeof i.name, name);
	i.is.flags = IFF_UP_RUNNING;
	SYS3(ioctl, fd, SIOCSIFFLAGS, &i);
}

/* Addresses are those that QEMU's own network always has. */
static void network(u32 granted)
{
	static struct route r = {0, {AF_INET, 0, {0}, 0}, {AF_INET, 0, {10, 0, 2, 2}, 0}, {AF_INET, 0, {0}, 0}, 3, 0, 0, 0, 0, 0, 0, 0, 0};
	i64 fd = SYS3(socket, AF_INET, SOCK_DGRAM | O_CLOEXEC, 0);
	set_up(fd, "lo");
	if (granted) {
		set_address(fd, "eth0", SIOCSIFADDR, 10, 0, 2, 15);
		set_address(fd, "eth0", SIOCSIFNETMASK, 255, 255, 255, 0);
		set_up(fd, "eth0");
		SYS3(ioctl, fd, SIOCADDRT, &r);
	}
	SYS1(close, fd);
}

int machine_boot(struct boot *b, const char *name, char *said, char *end)
{
	if (mount_root(b->partition, name + length(name) + 1, said, end) < 0 || furnish(b) < 0 || mounts(b->shm) < 0)
		return -1;
	SYS2(sethostname, name, length(name));
	network(b->network);
	if (b->notices && notices_open() < 0)
		return -1;
	return limits(b) < 0 ? -1 : 0;
}

void machine_used(struct used *u)
{
	u->memory_peak = cgroup_number(GROUP, "memory.peak", 0);
	u->pids_peak = cgroup_number(GROUP, "pids.peak", 0);
	u->oom = cgroup_number(GROUP, "memory.events", "oom_kill") > 0;
	u->pids = cgroup_number(GROUP, "pids.events", "max") > 0;
}

void machine_kill(void)
{
	cgroup_put(GROUP, "cgroup.kill", "1");
}

const char *machine_cgroup(void)
{
	return limited ? GROUP : "";
}
