package nvml

/*
#include <stdlib.h>
#include "jumps.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// open loads the library and starts it.
func open(path string) (nvml.Interface, error) {
	if err := load(path); err != nil {
		return nil, err
	}
	for _, any := range [][]string{{"nvmlInit_v2", "nvmlInit"}, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
		{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}, {"nvmlDeviceGetUUID"}, {"nvmlDeviceGetName"},
		{"nvmlDeviceGetMemoryInfo"}, {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses"}} {
		if !has(any...) {
			return nil, fmt.Errorf("%s is too old: it has no %s; install a newer NVIDIA driver", path, any[0])
		}
	}
	api := nvml.New(nvml.WithLibraryPath(path))
	if ret := api.Init(); ret != nvml.SUCCESS {
		return nil, fmt.Errorf("start %s: %w%s", path, failure(ret), hint(ret))
	}
	return api, nil
}

func load(path string) error {
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	if wrong := C.coinop_nvml_open(text); wrong != nil {
		return fmt.Errorf("load NVIDIA's library: %s; it comes with the driver (Debian: apt-get install libnvidia-ml1)", C.GoString(wrong))
	}
	return nil
}

// has says whether the library has one of the functions.
func has(functions ...string) bool {
	for _, function := range functions {
		text := C.CString(function)
		found := C.coinop_nvml_has(text) != 0
		C.free(unsafe.Pointer(text))
		if found {
			return true
		}
	}
	return false
}

// missing lists what this package can use and the library lacks.
func missing() []string {
	var all []string
	for _, function := range []string{
		"nvmlDeviceGetMemoryAffinity", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTotalEnergyConsumption",
		"nvmlDeviceSetComputeMode", "nvmlDeviceSetPersistenceMode", "nvmlDeviceSetPowerManagementLimit",
		"nvmlDeviceGetMigMode", "nvmlDeviceCreateGpuInstanceWithPlacement", "nvmlGpuInstanceCreateComputeInstance",
		"nvmlEventSetCreate", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRetiredPagesPendingStatus", "nvmlDeviceGetRemappedRows",
	} {
		if !has(function) {
			all = append(all, function)
		}
	}
	return all
}

// failure is a code of the library as an error. errors.Is finds the code in it.
func failure(ret nvml.Return) error {
	if ret == nvml.SUCCESS {
		return nil
	}
	if ret == nvml.ERROR_FUNCTION_NOT_FOUND {
		return &code{ret, "the library is too old for this"}
	}
	return &code{ret, strings.ToLower(nvml.ErrorString(ret))}
}

type code struct {
	ret  nvml.Return
	text string
}

func (c *code) Error() string { return c.text }

// is says whether an error has this code.
func is(err error, ret nvml.Return) bool {
	var c *code
	return errors.As(err, &c) && c.ret == ret
}

func hint(ret nvml.Return) string {
	switch ret {
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return "; load the kernel's module: modprobe nvidia"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return "; the driver was upgraded and the old module still runs: reboot, or unload and load it"
	case nvml.ERROR_NO_PERMISSION:
		return "; the agent may not open /dev/nvidiactl"
	}
	return ""
}
