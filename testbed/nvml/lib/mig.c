#include <stdio.h>
#include <string.h>

#include "machine.h"

// What an A100 of 40 GB can be cut into: NVIDIA's MIG user guide, its table of A100 profiles and nvidia-smi's -lgip and -lgipp.
// Compute profiles have the number of slices' own order, 1c 2c 3c 4c 7c.
static const struct profile {
    int number, id, slices, count, processors, engines, decoders, media;
    long long megabytes;
    int size, starts[8]; // -1 ends them
    int first;           // of the instances' ids
    int compute;         // the compute profile that takes all of it
} profiles[] = {
    {NVML_GPU_INSTANCE_PROFILE_1_SLICE, 19, 1, 7, 14, 1, 0, 0, 4864, 1, {0, 1, 2, 3, 4, 5, 6, -1}, 7, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_1_SLICE_REV1, 20, 1, 1, 14, 1, 1, 1, 4864, 1, {0, 1, 2, 3, 4, 5, 6, -1}, 7, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_1_SLICE_REV2, 15, 1, 4, 14, 1, 1, 0, 9856, 2, {0, 2, 4, 6, -1}, 3, NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_2_SLICE, 14, 2, 3, 28, 2, 1, 0, 9856, 2, {0, 2, 4, -1}, 3, NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_3_SLICE, 9, 3, 2, 42, 3, 2, 0, 19968, 4, {0, 4, -1}, 1, NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_4_SLICE, 5, 4, 1, 56, 4, 2, 0, 19968, 4, {0, -1}, 1, NVML_COMPUTE_INSTANCE_PROFILE_4_SLICE},
    {NVML_GPU_INSTANCE_PROFILE_7_SLICE, 0, 7, 1, 98, 7, 5, 1, 40192, 8, {0, -1}, 0, NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE},
};
enum { PROFILES = sizeof profiles / sizeof *profiles };

static struct nvmlGpuInstance_st instances[GPUS_MAX][INSTANCES_MAX];
static struct nvmlComputeInstance_st computes[GPUS_MAX][INSTANCES_MAX];

static const struct profile *by_number(int number) {
    for (int i = 0; i < PROFILES; i++)
        if (profiles[i].number == number) return &profiles[i];
    return NULL;
}

static const struct profile *by_id(int id) {
    for (int i = 0; i < PROFILES; i++)
        if (profiles[i].id == id) return &profiles[i];
    return NULL;
}

// An instance is the fact "instanceID" of its GPU: profile's id, first memory slice, their number, whether it has its compute
// instance, and a number that makes its UUID unlike any before.
struct instance { int profile, start, size, compute; long long serial; };

static bool get(struct machine *m, int gpu, int id, struct instance *i) {
    char key[32];
    snprintf(key, sizeof key, "instance%d", id);
    const char *facts = text(m, gpu, key);
    return facts && sscanf(facts, "%d %d %d %d %lld", &i->profile, &i->start, &i->size, &i->compute, &i->serial) == 5;
}

static void set(struct machine *m, int gpu, int id, const struct instance *i) {
    char key[32];
    snprintf(key, sizeof key, "instance%d", id);
    if (i == NULL)
        put(m, gpu, key, NULL);
    else
        put(m, gpu, key, "%d %d %d %d %lld", i->profile, i->start, i->size, i->compute, i->serial);
}

static bool any(struct machine *m, int gpu) {
    struct instance i;
    for (int id = 0; id < INSTANCES_MAX; id++)
        if (get(m, gpu, id, &i)) return true;
    return false;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    ON(nvmlDeviceGetMigMode, device);
    if (text(&m, device.handle->gpu, "mig") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *current = number(&m, device.handle->gpu, "mig", 0);
    *pending = number(&m, device.handle->gpu, "mig.pending", *current);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned int mode, nvmlReturn_t *activation) {
    ON(nvmlDeviceSetMigMode, device);
    if (text(&m, device.handle->gpu, "mig") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *activation = NVML_SUCCESS;
    if (any(&m, device.handle->gpu) || busy(&m, device.handle->gpu, -1)) *activation = NVML_ERROR_IN_USE;
    if (number(&m, device.handle->gpu, "mig.needs_reset", 0)) *activation = NVML_ERROR_RESET_REQUIRED;
    put(&m, device.handle->gpu, "mig.pending", "%u", mode);
    if (*activation == NVML_SUCCESS) put(&m, device.handle->gpu, "mig", "%u", mode);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t device, unsigned int number_, nvmlGpuInstanceProfileInfo_t *info) {
    ON(nvmlDeviceGetGpuInstanceProfileInfo, device);
    const struct profile *p = by_number(number_);
    if (p == NULL || text(&m, device.handle->gpu, "mig") == NULL) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    *info = (nvmlGpuInstanceProfileInfo_t){
        .id = p->id, .sliceCount = p->slices, .instanceCount = p->count, .multiprocessorCount = p->processors,
        .copyEngineCount = p->engines, .decoderCount = p->decoders, .jpegCount = p->media, .ofaCount = p->media,
        .memorySizeMB = p->megabytes};
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlDevice_t device, unsigned int id, nvmlGpuInstancePlacement_t *placements,
                                                           unsigned int *count) {
    ON(nvmlDeviceGetGpuInstancePossiblePlacements_v2, device);
    const struct profile *p = by_id(id);
    if (p == NULL || !number(&m, device.handle->gpu, "mig", 0)) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    unsigned int n = 0;
    for (; n < 8 && p->starts[n] >= 0; n++)
        if (placements) placements[n] = (nvmlGpuInstancePlacement_t){p->starts[n], p->size};
    *count = n;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGpuInstances(nvmlDevice_t device, unsigned int id, nvmlGpuInstance_t *found, unsigned int *count) {
    ON(nvmlDeviceGetGpuInstances, device);
    struct instance i;
    *count = 0;
    for (int n = 0; n < INSTANCES_MAX; n++) {
        if (!get(&m, device.handle->gpu, n, &i) || i.profile != (int)id) continue;
        instances[device.handle->gpu][n] = (struct nvmlGpuInstance_st){device.handle->gpu, n};
        found[(*count)++].handle = &instances[device.handle->gpu][n];
    }
    return leave(&m, NVML_SUCCESS);
}

// fits says whether the profile's limits, the memory and the seven compute slices have room for one more.
static bool fits(struct machine *m, int gpu, const struct profile *p, int start) {
    struct instance i;
    int slices = p->slices, same = 0;
    for (int id = 0; id < INSTANCES_MAX; id++) {
        if (!get(m, gpu, id, &i)) continue;
        slices += by_id(i.profile)->slices;
        same += i.profile == p->id;
        if (start < i.start + i.size && i.start < start + p->size) return false;
    }
    return slices <= 7 && same < p->count;
}

nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlDevice_t device, unsigned int profile, const nvmlGpuInstancePlacement_t *placement,
                                                      nvmlGpuInstance_t *made) {
    ON(nvmlDeviceCreateGpuInstanceWithPlacement, device);
    const struct profile *p = by_id(profile);
    int gpu = device.handle->gpu, at = 0;
    if (p == NULL || !number(&m, gpu, "mig", 0)) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    while (at < 8 && p->starts[at] >= 0 && p->starts[at] != (int)placement->start) at++;
    if (at == 8 || p->starts[at] < 0 || (int)placement->size != p->size) return leave(&m, NVML_ERROR_INVALID_ARGUMENT);
    if (!fits(&m, gpu, p, placement->start)) return leave(&m, NVML_ERROR_INSUFFICIENT_RESOURCES);
    struct instance i = {p->id, placement->start, p->size, 0, number(&m, gpu, "serial", 0) + 1}, other;
    int id = p->first;
    while (get(&m, gpu, id, &other)) id++;
    put(&m, gpu, "serial", "%lld", i.serial);
    set(&m, gpu, id, &i);
    instances[gpu][id] = (struct nvmlGpuInstance_st){gpu, id};
    made->handle = &instances[gpu][id];
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlGpuInstanceDestroy(nvmlGpuInstance_t instance) {
    ON(nvmlGpuInstanceDestroy, handle(instance.handle->gpu, -1));
    struct instance i;
    if (!get(&m, instance.handle->gpu, instance.handle->id, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    if (i.compute) return leave(&m, NVML_ERROR_IN_USE);
    set(&m, instance.handle->gpu, instance.handle->id, NULL);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t *info) {
    ON(nvmlGpuInstanceGetInfo, handle(instance.handle->gpu, -1));
    struct instance i;
    if (!get(&m, instance.handle->gpu, instance.handle->id, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    *info = (nvmlGpuInstanceInfo_t){handle(instance.handle->gpu, -1), instance.handle->id, i.profile, {i.start, i.size}};
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlGpuInstance_t instance, unsigned int profile, unsigned int engine,
                                                          nvmlComputeInstanceProfileInfo_t *info) {
    ON(nvmlGpuInstanceGetComputeInstanceProfileInfo, handle(instance.handle->gpu, -1));
    struct instance i;
    if (!get(&m, instance.handle->gpu, instance.handle->id, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    const struct profile *p = by_id(i.profile);
    if ((int)profile > p->compute) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    static const int slices[] = {1, 2, 3, 4, 7};
    *info = (nvmlComputeInstanceProfileInfo_t){
        .id = profile, .sliceCount = slices[profile], .instanceCount = p->slices / slices[profile], .multiprocessorCount = 14 * slices[profile]};
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlGpuInstanceCreateComputeInstance(nvmlGpuInstance_t instance, unsigned int profile, nvmlComputeInstance_t *made) {
    ON(nvmlGpuInstanceCreateComputeInstance, handle(instance.handle->gpu, -1));
    struct instance i;
    if (!get(&m, instance.handle->gpu, instance.handle->id, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    if (i.compute) return leave(&m, NVML_ERROR_INSUFFICIENT_RESOURCES);
    if ((int)profile != by_id(i.profile)->compute) return leave(&m, NVML_ERROR_NOT_SUPPORTED);
    i.compute = 1;
    set(&m, instance.handle->gpu, instance.handle->id, &i);
    computes[instance.handle->gpu][instance.handle->id] = (struct nvmlComputeInstance_st){instance.handle->gpu, instance.handle->id};
    made->handle = &computes[instance.handle->gpu][instance.handle->id];
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlGpuInstanceGetComputeInstances(nvmlGpuInstance_t instance, unsigned int profile, nvmlComputeInstance_t *found,
                                                unsigned int *count) {
    ON(nvmlGpuInstanceGetComputeInstances, handle(instance.handle->gpu, -1));
    struct instance i;
    if (!get(&m, instance.handle->gpu, instance.handle->id, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    *count = i.compute && (int)profile == by_id(i.profile)->compute;
    computes[instance.handle->gpu][instance.handle->id] = (struct nvmlComputeInstance_st){instance.handle->gpu, instance.handle->id};
    if (*count) found[0].handle = &computes[instance.handle->gpu][instance.handle->id];
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlComputeInstanceDestroy(nvmlComputeInstance_t compute) {
    ON(nvmlComputeInstanceDestroy, handle(compute.handle->gpu, -1));
    struct instance i;
    if (!get(&m, compute.handle->gpu, compute.handle->instance, &i) || !i.compute) return leave(&m, NVML_ERROR_NOT_FOUND);
    if (busy(&m, compute.handle->gpu, compute.handle->instance)) return leave(&m, NVML_ERROR_IN_USE);
    i.compute = 0;
    set(&m, compute.handle->gpu, compute.handle->instance, &i);
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    ON(nvmlDeviceGetMaxMigDeviceCount, device);
    *count = text(&m, device.handle->gpu, "mig") ? 7 : 0;
    return leave(&m, NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *found) {
    ON(nvmlDeviceGetMigDeviceHandleByIndex, device);
    struct instance i;
    for (int id = 0; id < INSTANCES_MAX; id++) {
        if (!get(&m, device.handle->gpu, id, &i) || !i.compute || index-- > 0) continue;
        *found = handle(device.handle->gpu, id);
        return leave(&m, NVML_SUCCESS);
    }
    return leave(&m, NVML_ERROR_NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id) {
    ON(nvmlDeviceGetGpuInstanceId, device);
    *id = device.handle->instance;
    return leave(&m, device.handle->instance < 0 ? NVML_ERROR_INVALID_ARGUMENT : NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    ON(nvmlDeviceGetUUID, device);
    struct instance i;
    if (device.handle->instance < 0) {
        copy(&m, device.handle->gpu, "uuid", uuid, length);
        return leave(&m, NVML_SUCCESS);
    }
    if (!get(&m, device.handle->gpu, device.handle->instance, &i)) return leave(&m, NVML_ERROR_NOT_FOUND);
    snprintf(uuid, length, "MIG-%08x-0000-4000-8000-%04x%08llx", 0xc0117e57, device.handle->gpu, i.serial);
    return leave(&m, NVML_SUCCESS);
}
