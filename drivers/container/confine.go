package container

import (
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/coinop/coinop/drivers/shim"
)

// capabilities are what root in a container can do there: enough for package managers and servers, as with podman. None of
// them reaches beyond the container's own namespaces.
func capabilities() []string {
	return []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID",
		"CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}
}

func firstProcess(who user) *specs.Process {
	return &specs.Process{
		User: specs.User{UID: who.uid, GID: who.gid, AdditionalGids: []uint32{who.gid}},
		Args: shim.FirstArgv(), Cwd: "/", NoNewPrivileges: true,
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilities(), Effective: capabilities(), Permitted: capabilities()},
	}
}

// profile is the list of system calls that Docker allows, for the capabilities that the process has.
func profile(s *specs.Spec) (*specs.LinuxSeccomp, error) { return seccomp.GetDefaultProfile(s) }

// masked is what a container does not see of the machine, as with Docker and podman.
func masked() []string {
	return []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux", "/sys/dev/block",
		"/sys/devices/virtual/powercap"}
}

func readOnly() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
