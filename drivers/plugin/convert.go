package plugin

import (
	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/plugin/driverpb"
)

func byteSlices(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, text := range texts {
		out[i] = []byte(text)
	}
	return out
}

func texts(slices [][]byte) []string {
	out := make([]string, len(slices))
	for i, s := range slices {
		out[i] = string(s)
	}
	return out
}

func describeToWire(d drivers.Description) *driverpb.DescribeResponse {
	out := &driverpb.DescribeResponse{
		Name: d.Name, ProtocolVersion: int32(d.ProtocolVersion), Isolation: string(d.Isolation),
		Pause: d.Pause, Suspend: d.Suspend, Exec: d.Exec, Network: d.Network, Devices: d.Devices,
		Images: d.Images, WorkDir: []byte(d.WorkDir), Note: d.Note, Version: d.Version, Connect: d.Connect, NoticeDir: []byte(d.NoticeDir), Moves: d.Moves, Share: d.Share,
	}
	for _, l := range d.Limits {
		out.Limits = append(out.Limits, &driverpb.LimitSupport{Limit: string(l.Limit), Supported: l.Supported, Reason: l.Reason})
	}
	return out
}

func describeFromWire(d *driverpb.DescribeResponse) drivers.Description {
	out := drivers.Description{
		Name: d.GetName(), ProtocolVersion: int(d.GetProtocolVersion()), Isolation: drivers.Isolation(d.GetIsolation()),
		Pause: d.GetPause(), Suspend: d.GetSuspend(), Exec: d.GetExec(), Network: d.GetNetwork(), Devices: d.GetDevices(),
		Images: d.GetImages(), WorkDir: string(d.GetWorkDir()), Note: d.GetNote(),
		Version: d.GetVersion(), Connect: d.GetConnect(), NoticeDir: string(d.GetNoticeDir()), Moves: d.GetMoves(), Share: d.GetShare(),
	}
	for _, l := range d.GetLimits() {
		out.Limits = append(out.Limits, drivers.LimitSupport{
			Limit: drivers.Limit(l.GetLimit()), Supported: l.GetSupported(), Reason: l.GetReason(),
		})
	}
	return out
}

func taskToWire(t drivers.Task) *driverpb.StartRequest {
	return &driverpb.StartRequest{
		Id: t.ID, Dir: []byte(t.Dir), WorkDir: []byte(t.WorkDir), Argv: byteSlices(t.Argv), Env: byteSlices(t.Env),
		Uid: t.UID, Gid: t.GID, AllowRoot: t.AllowRoot,
		CpuMilli: t.CPUMilli, MemoryBytes: t.MemoryBytes, DiskBytes: t.DiskBytes, PidsMax: t.PidsMax, FilesMax: t.FilesMax,
		LogHeadBytes: t.LogHeadBytes, LogTailBytes: t.LogTailBytes,
		LeaseUntil: t.LeaseUntil, LeaseGraceMillis: t.LeaseGraceMillis, KillDelayMillis: t.KillDelayMillis,
		Network: t.Network, Devices: t.Devices, DeviceSpecs: []byte(t.DeviceSpecs),
		Image: t.Image, Entrypoint: byteSlices(t.Entrypoint), ReadOnlyRoot: t.ReadOnlyRoot, ShmBytes: t.ShmBytes, StartDir: []byte(t.StartDir),
		Hold: t.Hold, NoticeDir: []byte(t.NoticeDir), From: []byte(t.From), Share: []byte(t.Share), Chdir: []byte(t.Chdir),
	}
}

func taskFromWire(t *driverpb.StartRequest) drivers.Task {
	return drivers.Task{
		ID: t.GetId(), Dir: string(t.GetDir()), WorkDir: string(t.GetWorkDir()), Argv: texts(t.GetArgv()), Env: texts(t.GetEnv()),
		UID: t.GetUid(), GID: t.GetGid(), AllowRoot: t.GetAllowRoot(),
		CPUMilli: t.GetCpuMilli(), MemoryBytes: t.GetMemoryBytes(), DiskBytes: t.GetDiskBytes(), PidsMax: t.GetPidsMax(),
		FilesMax: t.GetFilesMax(), LogHeadBytes: t.GetLogHeadBytes(), LogTailBytes: t.GetLogTailBytes(),
		LeaseUntil: t.GetLeaseUntil(), LeaseGraceMillis: t.GetLeaseGraceMillis(), KillDelayMillis: t.GetKillDelayMillis(),
		Network: t.GetNetwork(), Devices: t.GetDevices(), DeviceSpecs: string(t.GetDeviceSpecs()),
		Image: t.GetImage(), Entrypoint: texts(t.GetEntrypoint()), ReadOnlyRoot: t.GetReadOnlyRoot(), ShmBytes: t.GetShmBytes(), StartDir: string(t.GetStartDir()),
		Hold: t.GetHold(), NoticeDir: string(t.GetNoticeDir()), From: string(t.GetFrom()), Share: string(t.GetShare()), Chdir: string(t.GetChdir()),
	}
}

func controlToWire(id string, c drivers.Control) *driverpb.ControlRequest {
	return &driverpb.ControlRequest{
		Id: id, Kind: int32(c.Kind), Signal: int32(c.Signal), Group: c.Group, KillDelayMillis: c.KillDelayMillis, Until: c.Until, File: []byte(c.File),
	}
}

func controlFromWire(c *driverpb.ControlRequest) drivers.Control {
	return drivers.Control{
		Kind: drivers.ControlKind(c.GetKind()), Signal: int(c.GetSignal()), Group: c.GetGroup(),
		KillDelayMillis: c.GetKillDelayMillis(), Until: c.GetUntil(), File: string(c.GetFile()),
	}
}

func statusToWire(s drivers.Status) *driverpb.Status {
	out := &driverpb.Status{
		Id: s.ID, State: string(s.State), Pid: int64(s.Pid), StartedBoot: s.StartedBoot, EndedBoot: s.EndedBoot, Exit: exitToWire(s.Exit),
	}
	for _, span := range s.Frozen {
		out.Frozen = append(out.Frozen, &driverpb.Span{From: span.From, To: span.To, Cause: string(span.Cause)})
	}
	for _, limit := range s.Missing {
		out.Missing = append(out.Missing, string(limit))
	}
	return out
}

func statusFromWire(s *driverpb.Status) drivers.Status {
	out := drivers.Status{
		ID: s.GetId(), State: drivers.State(s.GetState()), Pid: int(s.GetPid()),
		StartedBoot: s.GetStartedBoot(), EndedBoot: s.GetEndedBoot(), Exit: exitFromWire(s.GetExit()),
	}
	for _, span := range s.GetFrozen() {
		out.Frozen = append(out.Frozen, drivers.Span{From: span.GetFrom(), To: span.GetTo(), Cause: drivers.FreezeCause(span.GetCause())})
	}
	for _, limit := range s.GetMissing() {
		out.Missing = append(out.Missing, drivers.Limit(limit))
	}
	return out
}

func exitToWire(e drivers.Exit) *driverpb.Exit {
	if e == (drivers.Exit{}) {
		return nil
	}
	return &driverpb.Exit{
		Code: int32(e.Code), Signal: int32(e.Signal), Cause: string(e.Cause), OomSeen: e.OOMSeen, Message: []byte(e.Message),
	}
}

func exitFromWire(e *driverpb.Exit) drivers.Exit {
	return drivers.Exit{
		Code: int(e.GetCode()), Signal: int(e.GetSignal()), Cause: drivers.ExitCause(e.GetCause()),
		OOMSeen: e.GetOomSeen(), Message: string(e.GetMessage()),
	}
}
