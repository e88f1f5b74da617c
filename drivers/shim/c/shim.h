/* The shim of one task: what it was told, what it knows, and the files it shares with the driver.
 * Every layout here is read by record.go and logs; VERSION is raised with any change. */
#ifndef SHIM_H
#define SHIM_H

#include "sys.h"

#define VERSION 1
#define MAGIC 0x6d696873706f6f63UL /* "coopshim" */
#define LOG_MAGIC 0x676f6c706f6f63UL
#define SPANS_MAX 256
#define MESSAGE_MAX 104
#define CHUNK 65536
#define STATUS_FD 3
#define CGROUPS_MAX 32
#define WRITES_MAX 24
#define LAYERS_MAX 128
#define RUNTIME_MAX 32
#define ENTER_WORK "enter the work folder"
#define ENTER_SHARE "enter its folder"
#define LEAVE_SHARE "follow a link out of a share" /* no longer, or the record has no room for all of a long name's failure */
#define COMMAND_FD 3 /* where a container's first process finds its command, and says what became of it */

enum state { STARTING = 1, RUNNING, FROZEN, EXITED };
enum cause { EXITED_ITSELF = 1, SIGNALLED, OOM, LEASE, STOPPED, START_FAILED, DISK };
enum command { CMD_SIGNAL = 1, CMD_FREEZE, CMD_THAW, CMD_STOP, CMD_KILL, CMD_LEASE, CMD_EXEC };
enum freeze { BY_CONTROL = 1, BY_LEASE = 2 };
enum struck { STRUCK_MEMORY = 1, STRUCK_PIDS = 2 }; /* limits that were reached */

struct span { u64 from, to; u32 cause, pad; };

/* One record serves as the live status and as the exit record. */
struct status {
	u64 magic;
	u32 version, size; /* size: bytes of the record, spans in use included */
	u64 check;         /* FNV-1a of all that follows: a reader may catch a write half done */
	u32 state;
	i32 pid, shim_pid;
	u32 missing;
	u64 started, ended;
	u64 ack;
	i32 ack_errno;
	i32 code, signal;
	u32 cause, struck, span_count;
	u64 cpu_us, memory_peak, pids_peak, log_bytes;
	char message[MESSAGE_MAX];
	struct span spans[SPANS_MAX];
};

/* The lease file: the end of the lease, then the last command. It is made by the first renewal or command, so a number in it
 * may be zero: nothing was said of that yet. */
struct orders { u64 until, seq; u32 kind, signal, group, pad; u64 arg; };

struct cgroup { char kind; const char *dir; }; /* kind: '2' unified; in v1 m memory, p pids, c cpu, f freezer, a cpuacct; x: not ours to use */
struct cgroup_write { u32 cgroup; const char *file, *value; };

/* A container: its folder, what its root is made of (uppermost first), and how its runtime is called. */
struct box {
	const char *dir, *program, *work, *uid_map, *gid_map;
	const char *layers[LAYERS_MAX];
	u32 layer_count;
	char *runtime[RUNTIME_MAX + 1];
	u32 runtime_count;
};

/* What a container's first process is told: this, then texts, each with its zero: the work folder, arguments, variables. */
struct request { u64 bytes, files, file_bytes; u32 argc, envc; u32 streams, attend; };

/* What it answers if it fails; or, told to attend, in the end: the status as wait4 has it. */
struct answer { i32 error, status; char step[56]; };

struct spec {
	struct box box;
	u32 uid, gid, set_user, private, hold, make_dir;
	u64 files, file_bytes, head, tail, grace_ms, kill_ms;
	u32 has_lease;
	const char *work_dir, *log_dir, *record;
	const char *share, *chdir; /* a folder of the machine's that others have too, and where in it the task starts; 0: in its work folder */
	char **argv, **envp;
	struct cgroup cgroups[CGROUPS_MAX];
	u32 cgroup_count;
	struct cgroup_write writes[WRITES_MAX];
	u32 write_count;
};

struct stream { i32 fd, file; const char *name; u64 total, dropped; };

struct shim {
	struct spec spec;
	struct status status;
	struct stream out[2];
	i32 signal_fd, timer_fd;
	i32 child_out, child_err, null_fd;
	i32 main_pid, main_done, main_status;
	i32 init_pid; /* of the task's own pid namespace; 0: it has none, or no more */
	volatile u32 init_ready; /* written by it */
	i32 view_fd, ipc_fd; /* what a task has for itself of mounts and shared memory; 0: it has not */
	u64 lease_until, lease_frozen_at, kill_at;
	u32 frozen;      /* mask of enum freeze */
	u32 killed_for;  /* enum cause of our own SIGKILL, 0 if none */
	u32 stop_sent;
	u64 rusage_us, rusage_peak;
	i32 answering; /* this is a container's first process: failures are told by COMMAND_FD */
	i32 child_errno;
	const char *child_step;
	u64 obeyed; /* seq of the last command */
	char lease_path[4352], exit_path[4352];
	char buffer[CHUNK] __attribute__((aligned(8)));
};

extern struct shim S;

/* text.c */
void *memcpy(void *to, const void *from, u64 n);
void *memset(void *to, int c, u64 n);
u64 length(const char *s);
int same(const char *a, const char *b);
u64 number(const char *s);
char *append(char *to, char *end, const char *s);
char *append_number(char *to, char *end, u64 n);
void fail(const char *step, const char *what, i32 error);

/* record.c */
u64 now(void);
void publish(void);
void write_exit_record(void);
void span_begin(u32 cause, u64 at);
void span_end(u64 at);

/* cgroup.c */
const char *cgroup_dir(char kind);
int cgroups_make(void);
void cgroups_remove(void);
int cgroup_put(const char *dir, const char *file, const char *value);
u64 cgroup_number(const char *dir, const char *file, const char *key);
void cgroups_account(void);

/* child.c */
void step(const char *what, i64 result);
void settle(void);
void join(int unified);
void become_user(void);
void die_with_shim(void);
void plain_signals(void);
long spawn_vfork(u64 flags, void (*fn)(void));
void execute(void);
void not_started(const char *what, i32 error);
long child_start(void);

/* private.c */
i64 init_start(void);
i64 init_spawn(u64 flags);
void init_await(void);
i64 move(i64 tree, const char *to);
void up(char *path);
void own_keys(void);
void seclude(void);

/* share.c */
i64 share_open(void);
void share_enter(void);

/* box.c */
long box_start(void);

/* enter.c */
u64 lists_bytes(const struct request *c);
char **request_take(const struct request *c, char *texts);
void *room(u64 bytes);
struct request command_hear(void);
void command_attend(void);
void enter(void);
void hold(void);
void without(const char *mounted, char **argv, char **envp);

/* beside.c */
i64 terminal_make(u32 rows, u32 cols, i32 *ends);
i64 beside_start(u64 number);

/* guest.c */
void guest(void);

/* main.c */
void close_from(u32 fd);
int signalled(void);

/* tree.c */
void tree_signal(i32 sig);
void tree_kill(void);
void tree_freeze(void);
void tree_thaw(void);

/* log.c */
int log_copy(struct stream *s);
void log_flush(void);

/* lease.c */
void freeze_add(u32 cause);
void freeze_drop(u32 cause);
void kill_for(u32 cause);
int orders_read(struct orders *o);
void lease_read(void);
void time_passed(void);
void timer_set(void);

/* control.c */
void control_read(void);

#endif
