/* The folder of a share that a task works in. Others write in the share too, while it is looked for: so it is found by descriptors,
 * no link on the way may lead out of the share, and what was found is what is used, whatever its name means by then. */
#include "shim.h"

#define PATIENCE 64 /* tries, while folders on the way are renamed under our hands */

struct open_how { u64 flags, mode, resolve; };

/* Looked for with the rights of the task's user. A name for it is all that this is: to enter it asks for more. */
i64 share_open(void)
{
	struct open_how how = {O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	const char *path = S.spec.chdir + length(S.spec.share);
	i64 fd = -EAGAIN, root = SYS4(openat, AT_FDCWD, S.spec.share, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	int tries;
	step("open the shared folder", root);
	while (*path == '/')
		path++;
	for (tries = 0; tries < PATIENCE && fd == -EAGAIN; tries++)
		fd = SYS4(openat2, root, *path ? path : ".", &how, sizeof how);
	SYS1(close, root);
	step(fd == -EXDEV ? LEAVE_SHARE : ENTER_SHARE, fd);
	return fd;
}

void share_enter(void)
{
	i64 fd;
	if (!S.spec.share)
		return;
	fd = share_open();
	step(ENTER_SHARE, SYS1(fchdir, fd));
	SYS1(close, fd);
}
