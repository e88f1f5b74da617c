/* The first process of a virtual machine: what it and the monitor beside the machine say to each other, and what its parts share.
 * drivers/vm/guest has the same numbers. */
#ifndef GUEST_H
#define GUEST_H

#include "shim.h"

#define SESSIONS_MAX 32
#define WINDOW 65536   /* bytes that either side may send on a channel before the other has passed them on */
#define FRAME_COST 64  /* what a frame counts beside its bytes */
#define PIECE 16384

/* Each message is this, then its bytes. */
struct frame { u32 bytes; unsigned short channel; u8 kind, pad; };

enum ask { ASK_BOOT = 1, ASK_START, ASK_DATA, ASK_END, ASK_SIGNAL, ASK_SIZE, ASK_CREDIT, ASK_CLOSE, ASK_CONNECT, ASK_SYNC, ASK_ENTRY, ASK_GIVE, ASK_NOTICE };
enum tell { TELL_HELLO = 1, TELL_READY, TELL_OUT, TELL_ERR, TELL_OUT_END, TELL_EXIT, TELL_CREDIT, TELL_SYNCED, TELL_ENTRY, TELL_USED, TELL_BEGUN };

/* What a machine is made of; then the host's name and the kind of its root's file system, each with its zero. */
struct boot { u64 memory, pids, shm; u32 network, read_only, uid, gid, notices, partition; };

/* A command; then its texts, as struct request has them. No arguments: it holds the place. */
struct start { struct request request; u32 uid, gid, terminal; unsigned short rows, cols; };

struct entry { u64 bytes; u32 type, mode; }; /* then the path and, for a link, what it says, each with its zero */
enum entry_type { FOLDER = 1, PLAIN, LINK };

struct used { u64 memory_peak, pids_peak; u32 oom, pids; };

struct session {
	u32 used, channel, exited, ended, connects, terminal;
	u64 until;           /* a terminal whose command has ended is read for so long */
	i32 pid, in, out, err, status;
	u32 credit;          /* what may be sent */
	u32 held, from;      /* input that waits in a ring */
	u32 in_ended;
	struct answer answer;
	u8 input[WINDOW];
};

extern struct session sessions[SESSIONS_MAX];

/* guest.c */
void tell(u32 channel, u32 kind, const void *data, u64 bytes);
void tell2(u32 channel, u32 kind, const void *a, u64 an, const void *b, u64 bn);
void tell_end(u32 channel, i32 error, i32 status, const char *what);

/* session.c */
struct session *session_of(u32 channel);
void session_start(u32 channel, char *data);
void session_connect(u32 channel, u32 port);
void session_input(struct session *s, const u8 *data, u64 n);
void session_write(struct session *s);
void session_read(struct session *s, int errors);
void session_settle(struct session *s);
int session_lingers(void);
void session_signal(struct session *s, u32 sig, u32 group);
void session_close(struct session *s);
void session_reaped(i32 pid, i32 status);

/* files.c */
void files_entry(char *data, u64 bytes, u32 uid, u32 gid);
void files_data(const char *data, u64 bytes);
void files_end(u32 channel);
void files_give(u32 channel);

/* machine.c */
void machine_early(void);
int machine_boot(struct boot *b, const char *name, char *said, char *end);
void machine_notice(const char *name, const char *text, u64 bytes);
void machine_used(struct used *u);
void machine_kill(void);
const char *machine_cgroup(void);

#endif
