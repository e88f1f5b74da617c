// What the fake library knows of its machine: a text file beside the library, a line for each fact, read at each call
// under a lock, so that all processes see one machine.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "nvml.h"

enum { GPUS_MAX = 16, INSTANCES_MAX = 15, TEXT_MAX = 1 << 18 };

struct nvmlDevice_st { int gpu, instance; }; // instance -1: the whole GPU
struct nvmlGpuInstance_st { int gpu, id; };
struct nvmlComputeInstance_st { int gpu, instance; };

struct machine {
    int fd;
    bool changed;
    char *text; // begins with a newline, so that every key follows one
};

// enter locks and reads the machine, and returns the code that the test ordered for this function.
nvmlReturn_t enter(struct machine *m, const char *function);
nvmlReturn_t leave(struct machine *m, nvmlReturn_t code);
// on is enter for a call about a device, which may be lost.
nvmlReturn_t on(struct machine *m, const char *function, nvmlDevice_t device);

// Keys of a GPU: number gpu, name.
const char *text(struct machine *m, int gpu, const char *name); // to the end of its line; NULL: not there
long long number(struct machine *m, int gpu, const char *name, long long otherwise);
void copy(struct machine *m, int gpu, const char *name, char *to, size_t size);
void put(struct machine *m, int gpu, const char *name, const char *format, ...) __attribute__((format(printf, 4, 5)));
long long boottime_ms(void);

nvmlDevice_t handle(int gpu, int instance);
bool busy(struct machine *m, int gpu, int instance); // a process is there; instance -1: anywhere on the GPU

#define ENTER(function)                               \
    struct machine m;                                 \
    nvmlReturn_t entered = enter(&m, #function);      \
    if (entered != NVML_SUCCESS) return leave(&m, entered)
#define ON(function, device)                          \
    struct machine m;                                 \
    nvmlReturn_t entered = on(&m, #function, device); \
    if (entered != NVML_SUCCESS) return leave(&m, entered)
