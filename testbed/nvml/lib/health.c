#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine.h"

// An event is the fact "event.NUMBER" of its GPU: type, data, instance. Numbers grow over the whole machine; a set sees those
// that are newer than itself, as with the real library.
struct nvmlEventSet_st {
    long long seen;
    unsigned long long types[GPUS_MAX];
};

// next finds the oldest event after seen that the set wants, or with a NULL set only the newest number.
static long long next(struct machine *m, struct nvmlEventSet_st *set, long long seen, nvmlEventData_t *data) {
    long long best = -1;
    for (const char *at = m->text; (at = strstr(at, ".event.")) != NULL; at++) {
        const char *line = at;
        while (*line != '\n') line--;
        long long id, type, payload;
        int gpu, instance;
        if (sscanf(line, "\ngpu%d.event.%lld %lld %lld %d", &gpu, &id, &type, &payload, &instance) != 5 || id <= seen) continue;
        if (set == NULL) {
            if (id > best) best = id;
            continue;
        }
        if (!(set->types[gpu] & (unsigned long long)type) || (best >= 0 && id > best)) continue;
        best = id;
        *data = (nvmlEventData_t){handle(gpu, -1), type, payload, instance, instance < 0 ? -1 : 0};
    }
    return best;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    ENTER(nvmlEventSetCreate);
    set->handle = calloc(1, sizeof *set->handle);
    set->handle->seen = next(&m, NULL, 0, NULL);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    free(set.handle);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    ON(nvmlDeviceRegisterEvents, device);
    set.handle->types[device.handle->gpu] |= types;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    ON(nvmlDeviceGetSupportedEventTypes, device);
    *types = nvmlEventTypeXidCriticalError;
    if (number(&m, device.handle->gpu, "ecc", 0)) *types |= nvmlEventTypeDoubleBitEccError | nvmlEventTypeSingleBitEccError;
    return leave(&m, NVML_SUCCESS);
}

static nvmlReturn_t look(nvmlEventSet_t set, nvmlEventData_t *data) {
    ENTER(nvmlEventSetWait_v2);
    long long found = next(&m, set.handle, set.handle->seen, data);
    if (found >= 0) set.handle->seen = found;
    return leave(&m, found >= 0 ? NVML_SUCCESS : NVML_ERROR_TIMEOUT);
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms) {
    long long end = boottime_ms() + timeout_ms;
    struct timespec pause = {0, 10 * 1000 * 1000};
    for (;;) {
        nvmlReturn_t code = look(set, data);
        if (code != NVML_ERROR_TIMEOUT || boottime_ms() >= end) return code;
        nanosleep(&pause, NULL);
    }
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter, unsigned long long *n) {
    ON(nvmlDeviceGetTotalEccErrors, device);
    if (!number(&m, device.handle->gpu, "ecc", 0)) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *n = type == NVML_MEMORY_ERROR_TYPE_UNCORRECTED ? number(&m, device.handle->gpu, "ecc.uncorrected", 0) : 0;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, nvmlEnableState_t *pending) {
    ON(nvmlDeviceGetRetiredPagesPendingStatus, device);
    if (text(&m, device.handle->gpu, "retired.pending") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *pending = number(&m, device.handle->gpu, "retired.pending", 0);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected,
                                       unsigned int *pending, unsigned int *failed) {
    ON(nvmlDeviceGetRemappedRows, device);
    if (text(&m, device.handle->gpu, "remap.pending") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *corrected = 0;
    *pending = number(&m, device.handle->gpu, "remap.pending", 0);
    *failed = number(&m, device.handle->gpu, "remap.failed", 0);
    *uncorrected = *pending;
    return leave(&m, NVML_SUCCESS);
}
