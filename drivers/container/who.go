package container

// Who is the image's user, by number, as its own lists of users have it.
func (i Image) Who() (uid, gid uint32, err error) {
	who, err := findUser(i)
	return who.uid, who.gid, err
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
