/* System calls without a C library, so that a shim starts in microseconds and owns a few dozen kilobytes.
 * Only calls that both architectures have under the same name and layout are used; constants are the kernel's ABI. */
#ifndef SYS_H
#define SYS_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long u64;
typedef long i64;

_Static_assert(sizeof(u64) == 8 && sizeof(u32) == 4, "a 64-bit machine");

#define ENOENT 2
#define ESRCH 3
#define EINTR 4
#define E2BIG 7
#define EAGAIN 11
#define ECHILD 10
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EXDEV 18
#define ENOTDIR 20
#define EIO 5
#define EINVAL 22
#define ENOSYS 38
#define ETIME 62

#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGKILL 9
#define SIGUSR1 10
#define SIGTERM 15

#define AT_FDCWD (-100)
#define AT_REMOVEDIR 0x200
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_EMPTY_PATH 0x1000
#define AF_UNIX 1
#define SOCK_STREAM 1
#define PROT_RW 3
#define MAP_PRIVATE_ANONYMOUS 0x22
#define TIOCSCTTY 0x540e
#define TIOCNOTTY 0x5422
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0100
#define O_EXCL 0200
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define SEEK_END 2
#define O_CLOEXEC 02000000
#define O_PATH 010000000
#define RESOLVE_NO_MAGICLINKS 2
#define RESOLVE_BENEATH 8
#define F_SETFD 2
#define F_SETFL 4
#define FD_CLOEXEC 1
#define WNOHANG 1
#define CLOCK_BOOTTIME 7
#define TFD_NONBLOCK O_NONBLOCK
#define TFD_CLOEXEC O_CLOEXEC
#define TFD_TIMER_ABSTIME 1
#define POLLIN 1
#define POLLHUP 16
#define SIG_SETMASK 2

#define PR_SET_PDEATHSIG 1
#define PR_SET_DUMPABLE 4
#define PR_SET_CHILD_SUBREAPER 36
#define PR_SET_NO_NEW_PRIVS 38

#define RLIMIT_FSIZE 1
#define RLIMIT_CORE 4
#define RLIMIT_NOFILE 7

#define CLONE_VM 0x100UL
#define CLONE_VFORK 0x4000UL
#define CLONE_FILES 0x400UL
#define CLONE_INTO_CGROUP 0x200000000UL
#define CLONE_NEWNS 0x20000UL
#define CLONE_NEWIPC 0x8000000UL
#define CLONE_NEWPID 0x20000000UL
#define CLONE_NEWUSER 0x10000000UL

#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_BIND 0x1000
#define MS_REC 0x4000
#define MS_SLAVE 0x80000
#define MNT_DETACH 2
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV 4
#define MOUNT_ATTR_IDMAP 0x100000
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOVE_MOUNT_F_EMPTY_PATH 4
#define MOVE_MOUNT_T_SYMLINKS 0x10
#define KEYCTL_JOIN_SESSION_KEYRING 1
#define SIG_IGN ((void *)1)

#define POLLOUT 4
#define O_NOCTTY 0400
#if defined(__x86_64__)
#define O_NOFOLLOW 0400000
#define O_DIRECTORY 0200000
#else
#define O_NOFOLLOW 0100000
#define O_DIRECTORY 040000
#endif
#define AF_INET 2
#define SOCK_DGRAM 2
#define TIOCSWINSZ 0x5414
#define TIOCSPTLCK 0x40045431
#define TIOCGPTPEER 0x5441
#define SIOCADDRT 0x890b
#define SIOCSIFFLAGS 0x8914
#define SIOCSIFADDR 0x8916
#define SIOCSIFNETMASK 0x891c
#define IFF_UP_RUNNING 0x41
#define MS_RDONLY 1
#define MS_REMOUNT 32
#define MS_MOVE 0x2000
#define MS_NOATIME 1024
#define STATX_BASIC 0x7ff
#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFLNK 0120000

struct timespec { i64 sec, nsec; };
struct timeval { i64 sec, usec; };
struct itimerspec { struct timespec interval, value; };
struct pollfd { i32 fd; short events, revents; };
struct rlimit { u64 cur, max; };
struct rusage { struct timeval utime, stime; i64 maxrss, rest[13]; };
struct sigaction { void *handler; u64 flags; void *restorer; u64 mask; };
struct clone_args { u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; };
struct mount_attr { u64 set, clear, propagation, userns; };
struct timestamp { i64 sec; u32 nsec; i32 pad; };
struct statx {
	u32 mask, blksize;
	u64 attributes;
	u32 nlink, uid, gid;
	unsigned short mode, spare;
	u64 ino, size, blocks, attributes_mask;
	struct timestamp times[4];
	u32 rdev_major, rdev_minor, dev_major, dev_minor;
	u64 more[14];
};
struct dirent { u64 ino; i64 off; unsigned short reclen; u8 type; char name[]; };

#if defined(__x86_64__)
enum {
	NR_read = 0, NR_write = 1, NR_close = 3, NR_rt_sigaction = 13, NR_rt_sigprocmask = 14, NR_pread = 17, NR_pwrite = 18,
	NR_dup3 = 292, NR_getpid = 39, NR_clone = 56, NR_execve = 59, NR_exit_group = 231, NR_wait4 = 61, NR_kill = 62,
	NR_fcntl = 72, NR_fsync = 74, NR_chdir = 80, NR_umask = 95, NR_getppid = 110, NR_setsid = 112, NR_setgroups = 116, NR_setresuid = 117,
	NR_setresgid = 119, NR_prctl = 157, NR_getdents64 = 217, NR_clock_gettime = 228, NR_openat = 257, NR_mkdirat = 258,
	NR_unlinkat = 263, NR_renameat = 264, NR_ppoll = 271, NR_timerfd_create = 283, NR_timerfd_settime = 286,
	NR_signalfd4 = 289, NR_pipe2 = 293, NR_prlimit64 = 302, NR_clone3 = 435, NR_nanosleep = 35,
	NR_mount = 165, NR_unshare = 272, NR_keyctl = 250, NR_open_tree = 428, NR_move_mount = 429, NR_close_range = 436,
	NR_umount2 = 166, NR_mount_setattr = 442, NR_mmap = 9, NR_ioctl = 16, NR_socketpair = 53, NR_munmap = 11,
	NR_socket = 41, NR_connect = 42, NR_shutdown = 48, NR_chroot = 161, NR_sethostname = 170, NR_fchownat = 260, NR_symlinkat = 266,
	NR_readlinkat = 267, NR_fchmodat = 268, NR_finit_module = 313, NR_statx = 332, NR_lseek = 8,
	NR_sendmsg = 46, NR_recvmsg = 47, NR_setns = 308, NR_execveat = 322,
	NR_openat2 = 437, NR_fchdir = 81, NR_setfsuid = 122, NR_setfsgid = 123
};
#elif defined(__aarch64__)
enum {
	NR_dup3 = 24, NR_fcntl = 25, NR_mkdirat = 34, NR_unlinkat = 35, NR_renameat = 38, NR_chdir = 49, NR_openat = 56,
	NR_close = 57, NR_pipe2 = 59, NR_getdents64 = 61, NR_read = 63, NR_write = 64, NR_pread = 67, NR_pwrite = 68, NR_ppoll = 73,
	NR_signalfd4 = 74, NR_fsync = 82, NR_timerfd_create = 85, NR_timerfd_settime = 86, NR_exit_group = 94, NR_nanosleep = 101,
	NR_clock_gettime = 113, NR_kill = 129, NR_rt_sigaction = 134, NR_rt_sigprocmask = 135, NR_setresuid = 147, NR_setresgid = 149,
	NR_setsid = 157, NR_setgroups = 159, NR_umask = 166, NR_prctl = 167, NR_getpid = 172, NR_getppid = 173, NR_clone = 220,
	NR_execve = 221, NR_wait4 = 260, NR_prlimit64 = 261, NR_clone3 = 435,
	NR_mount = 40, NR_unshare = 97, NR_keyctl = 219, NR_open_tree = 428, NR_move_mount = 429, NR_close_range = 436,
	NR_umount2 = 39, NR_mount_setattr = 442, NR_mmap = 222, NR_ioctl = 29, NR_socketpair = 199, NR_munmap = 215,
	NR_socket = 198, NR_connect = 203, NR_shutdown = 210, NR_chroot = 51, NR_sethostname = 161, NR_fchownat = 54, NR_symlinkat = 36,
	NR_readlinkat = 78, NR_fchmodat = 53, NR_finit_module = 273, NR_statx = 291, NR_lseek = 62,
	NR_sendmsg = 211, NR_recvmsg = 212, NR_setns = 268, NR_execveat = 281,
	NR_openat2 = 437, NR_fchdir = 50, NR_setfsuid = 151, NR_setfsgid = 152
};
#else
#error "no system call numbers for this architecture"
#endif

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long r;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}
#else
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#endif

#define SYS0(n) sys6(NR_##n, 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) sys6(NR_##n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) sys6(NR_##n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) sys6(NR_##n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) sys6(NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) sys6(NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) sys6(NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* A child on a stack of its own calls fn and never returns; the parent gets its pid, or a negative errno. clone3 and clone
 * differ in where the stack is told; both leave it to the child to jump to fn. */
static inline long sys_spawn(long nr, long a, long b, void (*fn)(void))
{
#if defined(__x86_64__)
	long r;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register void (*r12)(void) __asm__("r12") = fn;
	__asm__ volatile("syscall\n\ttest %%rax,%%rax\n\tjnz 1f\n\txor %%ebp,%%ebp\n\tcall *%%r12\n\tud2\n1:"
			 : "=a"(r)
			 : "a"(nr), "D"(a), "S"(b), "d"(0L), "r"(r10), "r"(r8), "r"(r12)
			 : "rcx", "r11", "memory");
	return r;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	register void (*x19)(void) __asm__("x19") = fn;
	__asm__ volatile("svc #0\n\tcbnz x0, 1f\n\tmov x29, xzr\n\tblr x19\n\tbrk #1\n1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x19)
			 : "memory", "x30");
	return x0;
#endif
}

#endif
