#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

nvmlReturn_t nvmlInit_v2(void) {
    ENTER(nvmlInit_v2);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlShutdown(void) {
    ENTER(nvmlShutdown);
    return leave(&m, NVML_SUCCESS);
}

const char *nvmlErrorString(nvmlReturn_t code) {
    switch (code) {
    case NVML_SUCCESS: return "The operation was successful";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NO_PERMISSION: return "Insufficient Permissions";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_RESET_REQUIRED: return "GPU requires restart";
    case NVML_ERROR_IN_USE: return "In use by another client";
    case NVML_ERROR_INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    ENTER(nvmlSystemGetDriverVersion);
    snprintf(version, length, "550.54.15");
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    ENTER(nvmlSystemGetNVMLVersion);
    snprintf(version, length, "12.550.54.15");
    return leave(&m, NVML_SUCCESS);
}

static int count(struct machine *m) {
    int n = 0;
    while (n < GPUS_MAX && text(m, n, "uuid") != NULL) n++;
    return n;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n) {
    ENTER(nvmlDeviceGetCount_v2);
    *n = count(&m);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    ENTER(nvmlDeviceGetHandleByIndex_v2);
    if ((int)index >= count(&m)) return leave(&m, NVML_ERROR_INVALID_ARGUMENT);
    *device = handle(index, -1);
    return leave(&m, number(&m, index, "lost", 0) ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    ON(nvmlDeviceGetName, device);
    copy(&m, device.handle->gpu, "name", name, length);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor) {
    ON(nvmlDeviceGetMinorNumber, device);
    *minor = number(&m, device.handle->gpu, "minor", device.handle->gpu);
    return leave(&m, NVML_SUCCESS);
}

static void pci(struct machine *m, int gpu, nvmlPciInfo_t *info) {
    memset(info, 0, sizeof *info);
    copy(m, gpu, "bus", info->busId, sizeof info->busId);
    sscanf(info->busId, "%x:%x:%x", &info->domain, &info->bus, &info->device);
    snprintf(info->busIdLegacy, sizeof info->busIdLegacy, "%04x:%02x:%02x.0", info->domain & 0xffff, info->bus & 0xff, info->device & 0xff);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *info) {
    ON(nvmlDeviceGetPciInfo_v3, device);
    pci(&m, device.handle->gpu, info);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int size, unsigned long *set, nvmlAffinityScope_t scope) {
    ON(nvmlDeviceGetMemoryAffinity, device);
    memset(set, 0, size * sizeof *set);
    long long node = number(&m, device.handle->gpu, "numa", -1);
    if (node < 0) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    set[node / 64] = 1UL << node % 64;
    return leave(&m, NVML_SUCCESS);
}

// links holds the peer of each link, by number.
static int peer(struct machine *m, int gpu, unsigned int link) {
    char links[256], *rest = links, *word;
    copy(m, gpu, "links", links, sizeof links);
    while ((word = strsep(&rest, ",")) != NULL && *word)
        if (link-- == 0) return atoi(word);
    return -1;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, nvmlEnableState_t *active) {
    ON(nvmlDeviceGetNvLinkState, device);
    if (text(&m, device.handle->gpu, "links") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    if (peer(&m, device.handle->gpu, link) < 0) return leave(&m, NVML_ERROR_INVALID_ARGUMENT);
    *active = NVML_FEATURE_ENABLED;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *info) {
    ON(nvmlDeviceGetNvLinkRemotePciInfo_v2, device);
    int other = peer(&m, device.handle->gpu, link);
    if (other < 0) return leave(&m, NVML_ERROR_INVALID_ARGUMENT);
    pci(&m, other, info);
    return leave(&m, NVML_SUCCESS);
}
