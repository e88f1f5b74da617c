#include <stdio.h>
#include <string.h>

#include "machine.h"

// A process is the fact "process.PID" of its GPU: instance, bytes.
struct process { int pid, instance; long long bytes; };

static int processes(struct machine *m, int gpu, int instance, struct process *found, int room) {
    char key[64];
    int n = 0;
    size_t length = snprintf(key, sizeof key, "\ngpu%d.process.", gpu);
    for (const char *at = m->text; (at = strstr(at, key)) != NULL; at += length) {
        struct process p;
        if (sscanf(at + length, "%d %d %lld", &p.pid, &p.instance, &p.bytes) != 3) continue;
        if (instance >= 0 && p.instance != instance) continue;
        if (n < room) found[n] = p;
        n++;
    }
    return n;
}

bool busy(struct machine *m, int gpu, int instance) { return processes(m, gpu, instance, NULL, 0) > 0; }

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    ON(nvmlDeviceGetComputeRunningProcesses_v3, device);
    struct process all[64];
    unsigned int n = processes(&m, device.handle->gpu, device.handle->instance, all, 64), room = *count;
    *count = n;
    if (n > room) return leave(&m, NVML_ERROR_INSUFFICIENT_SIZE);
    for (unsigned int i = 0; i < n; i++)
        infos[i] = (nvmlProcessInfo_t){all[i].pid, all[i].bytes, all[i].instance, all[i].instance < 0 ? -1 : 0};
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    ON(nvmlDeviceGetGraphicsRunningProcesses_v3, device);
    *count = 0;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    ON(nvmlDeviceGetMPSComputeRunningProcesses_v3, device);
    *count = 0;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    ON(nvmlDeviceGetMemoryInfo, device);
    struct process all[64];
    int n = processes(&m, device.handle->gpu, device.handle->instance, all, 64), profile = 0, start = 0, size = 8;
    memory->total = number(&m, device.handle->gpu, "memory", 0);
    if (device.handle->instance >= 0) {
        char key[32];
        snprintf(key, sizeof key, "instance%d", device.handle->instance);
        const char *facts = text(&m, device.handle->gpu, key);
        if (facts == NULL) return leave(&m, NVML_ERROR_NOT_FOUND);
        sscanf(facts, "%d %d %d", &profile, &start, &size);
        memory->total = memory->total / 8 * size;
    }
    memory->used = 0;
    for (int i = 0; i < n && i < 64; i++) memory->used += all[i].bytes;
    memory->free = memory->total - memory->used;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    ON(nvmlDeviceGetUtilizationRates, device);
    if (number(&m, device.handle->gpu, "mig", 0)) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    rates->gpu = rates->memory = number(&m, device.handle->gpu, "use", 0);
    return leave(&m, NVML_SUCCESS);
}

static long long power(struct machine *m, int gpu) {
    long long idle = number(m, gpu, "idle", 0), limit = number(m, gpu, "limit", 0);
    return idle + (limit - idle) * number(m, gpu, "use", 0) / 100;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    ON(nvmlDeviceGetPowerUsage, device);
    *milliwatts = power(&m, device.handle->gpu);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules) {
    ON(nvmlDeviceGetTotalEnergyConsumption, device);
    long long now = boottime_ms(), since = number(&m, device.handle->gpu, "energy.at", now);
    *millijoules = number(&m, device.handle->gpu, "energy", 0) + power(&m, device.handle->gpu) * (now - since) / 1000;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, nvmlComputeMode_t *mode) {
    ON(nvmlDeviceGetComputeMode, device);
    *mode = number(&m, device.handle->gpu, "compute", NVML_COMPUTEMODE_DEFAULT);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceSetComputeMode(nvmlDevice_t device, nvmlComputeMode_t mode) {
    ON(nvmlDeviceSetComputeMode, device);
    if (number(&m, device.handle->gpu, "mig", 0)) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    put(&m, device.handle->gpu, "compute", "%d", mode);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t *mode) {
    ON(nvmlDeviceGetPersistenceMode, device);
    *mode = number(&m, device.handle->gpu, "persistence", 0);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t mode) {
    ON(nvmlDeviceSetPersistenceMode, device);
    put(&m, device.handle->gpu, "persistence", "%d", mode);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t device, unsigned int *limit) {
    ON(nvmlDeviceGetPowerManagementLimit, device);
    *limit = number(&m, device.handle->gpu, "limit", 0);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *low, unsigned int *high) {
    ON(nvmlDeviceGetPowerManagementLimitConstraints, device);
    *low = number(&m, device.handle->gpu, "limit.min", 0);
    *high = number(&m, device.handle->gpu, "limit.max", 0);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned int limit) {
    ON(nvmlDeviceSetPowerManagementLimit, device);
    if (limit < number(&m, device.handle->gpu, "limit.min", 0) || limit > number(&m, device.handle->gpu, "limit.max", 0))
        return leave(&m, NVML_ERROR_INVALID_ARGUMENT);
    put(&m, device.handle->gpu, "limit", "%u", limit);
    return leave(&m, NVML_SUCCESS);
}
