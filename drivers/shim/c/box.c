/* A task in a container. The shim makes what must be there before a runtime comes: the user and process namespaces, held by the
 * same first process that a task without a container has, and the root file system, mounted in a view that nobody else has. The
 * runtime makes the rest and starts enter.c, which waits until it is inside the task's limits. So the task is the shim's child,
 * and all else is as for any task; nothing is mounted that would outlive it. */
#include "shim.h"

#define PATIENCE 60000000000UL /* for a runtime that hangs */

static char text[8192], pid_text[24];
static i32 command_socket, errors_fd;

static const char *in_box(const char *name)
{
	static char path[4352];
	char *end = path + sizeof path;
	append(append(append(path, end, S.spec.box.dir), end, "/"), end, name);
	return path;
}

static const char *of_init(const char *name)
{
	static char path[64];
	char *end = path + sizeof path;
	append(append_number(append(path, end, "/proc/"), end, (u64)S.init_pid), end, name);
	return path;
}

static i64 put(const char *path, const char *value)
{
	i64 n, fd = SYS4(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	n = SYS3(write, fd, value, length(value));
	SYS1(close, fd);
	return n;
}

/* The layers with their owners as the container's users know them, below one folder that it may change. The names in the options
 * are relative, since all of them together have to fit a page. */
static void mount_root(void)
{
	struct mount_attr attr = {MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, 0};
	char *end = text + sizeof text, *p = append(text, end, "lowerdir=");
	i64 fd = SYS4(openat, AT_FDCWD, of_init("/ns/user"), O_RDONLY | O_CLOEXEC, 0);
	u32 i;
	step("open its user namespace", fd);
	attr.userns = (u64)fd;
	step("enter its folder", SYS1(chdir, in_box("lower")));
	for (i = 0; i < S.spec.box.layer_count; i++) {
		char name[24];
		i64 tree = SYS3(open_tree, AT_FDCWD, S.spec.box.layers[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		step("open a layer of its image", tree);
		step("map the owners of its image", SYS5(mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr));
		append_number(name, name + sizeof name, i);
		step("mount a layer of its image", move(tree, name));
		p = append(append(p, end, i ? ":" : ""), end, name);
	}
	append(p, end, ",upperdir=../own/upper,workdir=../own/work,volatile");
	step("mount its root", SYS5(mount, "overlay", "../rootfs", "overlay", MS_NOSUID | MS_NODEV, text));
	SYS1(chdir, "/");
}

/* The folder that it works in, found with the rights of the task's user: root's would open more, or, where a file server trusts
 * no root, less. Nothing is mounted but this folder, and no device opens in it and no program there becomes another user. */
static void mount_share(void)
{
	struct mount_attr attr = {MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, 0};
	i64 fd, tree;
	if (!S.spec.share)
		return;
	step("set groups", SYS2(setgroups, 1, &S.spec.gid));
	SYS1(setfsgid, S.spec.gid);
	SYS1(setfsuid, S.spec.uid);
	fd = share_open();
	SYS1(setfsuid, 0);
	SYS1(setfsgid, 0);
	tree = SYS3(open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	step("show its shared folder", tree);
	step("show its shared folder", SYS5(mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr));
	step("show its shared folder", move(tree, in_box("share")));
	SYS1(close, fd);
}

static void launch(void)
{
	static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0};
	step("make a view of its own", SYS5(mount, 0, "/", 0, MS_REC | MS_SLAVE, 0));
	step("keep its user namespace", SYS5(mount, of_init("/ns/user"), in_box("user"), 0, MS_BIND, 0));
	step("keep its process namespace", SYS5(mount, of_init("/ns/pid"), in_box("pid"), 0, MS_BIND, 0));
	step("show its first program", SYS5(mount, S.spec.box.program, in_box("init"), 0, MS_BIND, 0));
	step("show the work folder", SYS5(mount, S.spec.box.work, in_box("work"), 0, MS_BIND, 0));
	/* here, since a runtime may forget what it is asked of a mount that may be written (crun 1.8 does) */
	step("close the work folder to devices", SYS5(mount, 0, in_box("work"), 0, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV, 0));
	mount_share();
	mount_root();
	/* none of these is below 6 here, so none is overwritten before it is used */
	step("connect streams", SYS3(dup3, S.null_fd, 0, 0));
	step("connect streams", SYS3(dup3, errors_fd, 1, 0));
	step("connect streams", SYS3(dup3, errors_fd, 2, 0));
	step("connect streams", SYS3(dup3, command_socket, COMMAND_FD, 0));
	step("connect streams", SYS3(dup3, S.child_out, COMMAND_FD + 1, 0));
	step("connect streams", SYS3(dup3, S.child_err, COMMAND_FD + 2, 0));
	step("die with the shim", SYS2(prctl, PR_SET_PDEATHSIG, SIGKILL));
	plain_signals();
	step("find the container runtime", SYS3(execve, S.spec.box.runtime[0], S.spec.box.runtime, env));
}

/* Waits for something to read, or a child's end; -ETIME if that takes too long. */
static i64 wait_for(i32 fd, u64 until)
{
	struct pollfd p[2] = {{S.signal_fd, POLLIN, 0}, {fd, POLLIN, 0}};
	struct timespec most = {1, 0};
	SYS5(ppoll, p, fd < 0 ? 1 : 2, &most, 0, 8);
	if (p[0].revents)
		signalled();
	if (fd >= 0 && p[1].revents)
		return 1;
	return now() > until ? -ETIME : 0;
}

static i64 await_runtime(i32 pid, u64 until)
{
	i32 status;
	for (;;) {
		i64 e = SYS4(wait4, pid, &status, WNOHANG, 0);
		if (e == pid)
			return status ? -EIO : 0;
		if (e < 0)
			return e;
		if ((e = wait_for(-1, until)) < 0) {
			SYS2(kill, pid, SIGKILL);
			SYS4(wait4, pid, &status, 0, 0);
			return e;
		}
	}
}

static i64 first_process(void)
{
	i64 n, fd = SYS4(openat, AT_FDCWD, in_box("first"), O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	n = SYS3(read, fd, pid_text, sizeof pid_text - 1);
	SYS1(close, fd);
	pid_text[n > 0 ? n : 0] = 0;
	n = (i64)number(pid_text);
	return n > 1 ? n : -EIO;
}

static i64 send(const char *p, u64 n)
{
	while (n) {
		i64 w = SYS3(write, command_socket, p, n);
		if (w <= 0)
			return w ? w : -EIO;
		p += w, n -= (u64)w;
	}
	return 0;
}

static i64 send_command(void)
{
	struct request c = {length(S.spec.work_dir) + 1, S.spec.files, S.spec.file_bytes, 0, 0, 1, 0};
	char **t;
	i64 e;
	for (t = S.spec.argv; *t; t++, c.argc++)
		c.bytes += length(*t) + 1;
	for (t = S.spec.envp; *t; t++, c.envc++)
		c.bytes += length(*t) + 1;
	e = send((const char *)&c, sizeof c);
	if (!e)
		e = send(S.spec.work_dir, length(S.spec.work_dir) + 1);
	for (t = S.spec.argv; !e && *t; t++)
		e = send(*t, length(*t) + 1);
	for (t = S.spec.envp; !e && *t; t++)
		e = send(*t, length(*t) + 1);
	return e;
}

/* Into its limits, then it may go on; says whether it became the command. */
static void admit(u64 until)
{
	struct answer a;
	u32 i;
	i64 n = 0;
	for (i = 0; i < S.spec.cgroup_count; i++) {
		int e = S.spec.cgroups[i].kind == 'x' ? 0 : cgroup_put(S.spec.cgroups[i].dir, "cgroup.procs", pid_text);
		if (e) {
			fail("join cgroup", S.spec.cgroups[i].dir, e);
			return;
		}
	}
	lease_read();
	if (S.spec.has_lease && now() >= S.lease_until) {
		S.status.cause = LEASE;
		S.status.code = 125;
		return;
	}
	if (send_command() == 0) {
		while (!(n = wait_for(command_socket, until)))
			;
		if (n > 0)
			n = SYS3(read, command_socket, &a, sizeof a);
	} else {
		n = -EIO;
	}
	if (n == sizeof a)
		not_started(a.step, a.error);
	else if (n < 0)
		fail("start container", "hand it its command", (i32)-n);
}

static i64 make_namespaces(void)
{
	i64 e = init_spawn(CLONE_NEWUSER | CLONE_NEWPID);
	if (e >= 0)
		e = put(of_init("/uid_map"), S.spec.box.uid_map);
	if (e >= 0)
		e = put(of_init("/gid_map"), S.spec.box.gid_map);
	return e;
}

/* Returns the pid of the task's first process, or a negative errno with the reason recorded. */
long box_start(void)
{
	u64 until = now() + PATIENCE;
	i32 ends[2];
	i64 pid, e = make_namespaces();
	if (e < 0) {
		fail("make namespaces", 0, (i32)-e);
		return e;
	}
	e = SYS4(socketpair, AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, ends);
	if (e >= 0)
		e = SYS4(openat, AT_FDCWD, in_box("errors"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (e < 0) {
		fail("start container", 0, (i32)-e);
		return e;
	}
	errors_fd = (i32)e;
	command_socket = ends[1];
	pid = spawn_vfork(CLONE_NEWNS, launch);
	SYS1(close, ends[1]);
	command_socket = ends[0];
	e = pid;
	if (pid > 0 && S.child_errno)
		e = -S.child_errno;
	if (e > 0)
		e = await_runtime((i32)pid, until);
	else if (pid > 0)
		SYS4(wait4, pid, 0, 0, 0);
	if (e >= 0)
		e = first_process();
	if (e < 0 && S.child_errno)
		not_started(S.child_step, (i32)-e);
	else if (e < 0)
		fail("start container", 0, (i32)-e);
	else
		admit(until);
	SYS1(close, command_socket);
	SYS1(close, errors_fd);
	if (S.status.cause) /* whatever there is of it already */
		kill_for(S.status.cause);
	return e;
}
