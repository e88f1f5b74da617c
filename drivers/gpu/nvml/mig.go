package nvml

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/coinop/coinop/drivers/gpu"
)

// profile is one way to cut a GPU whose MIG mode is on.
type profile struct {
	name   string
	number int // the constant of the library
	info   nvml.GpuInstanceProfileInfo
	slices int
	memory int64
	count  int
	places []gpu.Place
}

// on says whether a GPU's MIG mode is on.
func (c *card) on() bool {
	if c.device == nil || !c.MIG.Capable {
		return false
	}
	current, _, ret := c.device.GetMigMode()
	return ret == nvml.SUCCESS && current == nvml.DEVICE_MIG_ENABLE
}

// readProfiles asks for the library's table of this GPU, which it has only while MIG is on. The order is largest first.
func (c *card) readProfiles() {
	c.profiles = nil
	if !c.on() {
		return
	}
	for number := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		info, ret := c.device.GetGpuInstanceProfileInfo(number)
		if ret != nvml.SUCCESS {
			continue
		}
		places, ret := c.device.GetGpuInstancePossiblePlacements(&info)
		if ret != nvml.SUCCESS {
			continue
		}
		found := profile{
			name: c.profileName(number, info), number: number, info: info,
			slices: int(info.SliceCount), memory: int64(info.MemorySizeMB) << 20, count: int(info.InstanceCount),
		}
		for _, place := range places {
			found.places = append(found.places, gpu.Place{Start: int(place.Start), Size: int(place.Size)})
		}
		c.profiles = append(c.profiles, found)
	}
	slices.SortStableFunc(c.profiles, func(a, b profile) int {
		return cmp.Or(cmp.Compare(b.slices, a.slices), cmp.Compare(b.memory, a.memory))
	})
}

// profileName writes a profile as NVIDIA does: compute slices, and memory in eighths of the GPU's, rounded up.
func (c *card) profileName(number int, info nvml.GpuInstanceProfileInfo) string {
	eighths := math.Ceil(float64(info.MemorySizeMB<<20) / float64(c.MemoryBytes) * 8)
	name := fmt.Sprintf("%dg.%.0fgb", info.SliceCount, math.Round(eighths/8*math.Ceil(float64(c.MemoryBytes)/(1<<30))))
	switch number {
	case nvml.GPU_INSTANCE_PROFILE_1_SLICE_REV1, nvml.GPU_INSTANCE_PROFILE_2_SLICE_REV1:
		name += "+me"
	case nvml.GPU_INSTANCE_PROFILE_1_SLICE_GFX, nvml.GPU_INSTANCE_PROFILE_2_SLICE_GFX, nvml.GPU_INSTANCE_PROFILE_3_SLICE_GFX, nvml.GPU_INSTANCE_PROFILE_4_SLICE_GFX:
		name += "+gfx"
	case nvml.GPU_INSTANCE_PROFILE_1_SLICE_NO_ME, nvml.GPU_INSTANCE_PROFILE_2_SLICE_NO_ME:
		name += "-me"
	case nvml.GPU_INSTANCE_PROFILE_1_SLICE_ALL_ME, nvml.GPU_INSTANCE_PROFILE_2_SLICE_ALL_ME:
		name += "+me.all"
	}
	return name
}

// instance is a GPU instance as the library has it.
type instance struct {
	handle nvml.GpuInstance
	id     int
	place  gpu.Place
}

func (c *card) instances() ([]instance, error) {
	var all []instance
	for i := range c.profiles {
		handles, ret := c.device.GetGpuInstances(&c.profiles[i].info)
		if ret != nvml.SUCCESS {
			return nil, fmt.Errorf("list MIG instances: %w", failure(ret))
		}
		for _, handle := range handles {
			info, ret := handle.GetInfo()
			if ret != nvml.SUCCESS {
				return nil, fmt.Errorf("list MIG instances: %w", failure(ret))
			}
			all = append(all, instance{handle, int(info.Id), gpu.Place{Start: int(info.Placement.Start), Size: int(info.Placement.Size)}})
		}
	}
	return all, nil
}

// layout is how a GPU is cut now. What the library cannot tell counts as full.
func (p *Provider) layout(c *card) gpu.Layout {
	var l gpu.Layout
	for _, profile := range c.profiles {
		l.Profiles = append(l.Profiles, profile.places)
	}
	found, err := c.instances()
	if err != nil {
		p.config.Log.Warn("a GPU's slices are not known", "gpu", c.ID, "err", err)
		return gpu.Layout{Profiles: make([][]gpu.Place, len(l.Profiles))}
	}
	for _, i := range found {
		l.Taken = append(l.Taken, i.place)
	}
	return l
}

// turn turns MIG on or off, on a GPU that nobody uses.
func (c *card) turn(on bool) error {
	mode, word := nvml.DEVICE_MIG_DISABLE, "off"
	if on {
		mode, word = nvml.DEVICE_MIG_ENABLE, "on"
	}
	activation, ret := c.device.SetMigMode(mode)
	if err := errors.Join(failure(ret), failure(activation)); err != nil {
		if ret == nvml.SUCCESS { // it would come with the next reset, when nobody expects it
			_, _ = c.device.SetMigMode(nvml.DEVICE_MIG_ENABLE - mode)
		}
		c.stuck = fmt.Sprintf("MIG could not be turned %s: %v", word, err)
		if is(err, nvml.ERROR_RESET_REQUIRED) {
			c.stuck += "; nvidia-smi --gpu-reset, with nobody using the GPU"
		}
		return errors.New(c.stuck)
	}
	c.stuck = ""
	c.readProfiles()
	return nil
}

// cut makes a slice with all its compute, and returns the instance's id and the slice's UUID.
func (c *card) cut(chosen profile, place gpu.Place) (id int, uuid string, err error) {
	handle, ret := c.device.CreateGpuInstanceWithPlacement(&chosen.info, &nvml.GpuInstancePlacement{Start: uint32(place.Start), Size: uint32(place.Size)})
	if ret != nvml.SUCCESS {
		return 0, "", fmt.Errorf("make MIG instance %s at %d: %w", chosen.name, place.Start, failure(ret))
	}
	fail := func(what string, ret nvml.Return) (int, string, error) {
		return 0, "", errors.Join(fmt.Errorf("%s of %s: %w", what, chosen.name, failure(ret)), c.mend(place))
	}
	info, ret := handle.GetInfo()
	if ret != nvml.SUCCESS {
		return fail("read the MIG instance", ret)
	}
	whole, ret := largest(handle)
	if ret != nvml.SUCCESS {
		return fail("find the compute profile", ret)
	}
	if _, ret := handle.CreateComputeInstance(&whole); ret != nvml.SUCCESS {
		return fail("make the compute instance", ret)
	}
	slice, ret := c.slice(int(info.Id))
	if ret != nvml.SUCCESS {
		return fail("find the MIG device", ret)
	}
	if uuid, ret = slice.GetUUID(); ret != nvml.SUCCESS {
		return fail("read the UUID", ret)
	}
	return int(info.Id), uuid, nil
}

// largest is the compute profile that takes all of an instance.
func largest(handle nvml.GpuInstance) (best nvml.ComputeInstanceProfileInfo, ret nvml.Return) {
	ret = nvml.ERROR_NOT_FOUND
	for number := range nvml.COMPUTE_INSTANCE_PROFILE_COUNT {
		info, r := handle.GetComputeInstanceProfileInfo(number, nvml.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
		if r == nvml.SUCCESS && info.SliceCount > best.SliceCount {
			best, ret = info, r
		}
	}
	return best, ret
}

// slice is the MIG device of an instance.
func (c *card) slice(id int) (nvml.Device, nvml.Return) {
	count, ret := c.device.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return nil, ret
	}
	for i := range count {
		device, ret := c.device.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // gaps between them are no error
		}
		if of, ret := device.GetGpuInstanceId(); ret == nvml.SUCCESS && of == id {
			return device, nvml.SUCCESS
		}
	}
	return nil, nvml.ERROR_NOT_FOUND
}

// mend destroys the instance at a place, if there is one.
func (c *card) mend(place gpu.Place) error {
	found, err := c.instances()
	if err != nil {
		return err
	}
	for _, i := range found {
		if i.place != place {
			continue
		}
		for number := range nvml.COMPUTE_INSTANCE_PROFILE_COUNT {
			info, ret := i.handle.GetComputeInstanceProfileInfo(number, nvml.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
			if ret != nvml.SUCCESS || info.InstanceCount == 0 {
				continue
			}
			computes, ret := i.handle.GetComputeInstances(&info)
			if ret != nvml.SUCCESS {
				return fmt.Errorf("list compute instances: %w", failure(ret))
			}
			for _, compute := range computes {
				if ret := compute.Destroy(); ret != nvml.SUCCESS {
					return fmt.Errorf("destroy the compute instance: %w", failure(ret))
				}
			}
		}
		if ret := i.handle.Destroy(); ret != nvml.SUCCESS {
			return fmt.Errorf("destroy the MIG instance: %w", failure(ret))
		}
	}
	return nil
}
