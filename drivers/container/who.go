package container

import "path"

// Who is the image's user, by number, as its own lists of users have it.
func (i Image) Who() (uid, gid uint32, err error) {
	who, err := findUser(i)
	return who.uid, who.gid, err
}

// Start is where a task of this image starts.
func (i Image) Start(said string) string {
	if said == "" {
		said = i.WorkingDir
	}
	if said == "" {
		return WorkDir
	}
	return path.Join("/", said)
}

// Command is what a task of this image runs, and with which variables.
func (i Image) Command(entrypoint, argv, env []string) (command, variables []string) {
	if len(entrypoint) == 0 {
		entrypoint = i.Entrypoint
		if len(argv) == 0 {
			argv = i.Cmd
		}
	}
	return append(append([]string{}, entrypoint...), argv...), environment(i.Env, env)
}
