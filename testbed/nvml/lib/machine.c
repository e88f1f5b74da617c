#define _GNU_SOURCE
#include "machine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static struct nvmlDevice_st devices[GPUS_MAX][INSTANCES_MAX + 1];
static bool initialised;

long long boottime_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

nvmlDevice_t handle(int gpu, int instance) {
    nvmlDevice_t d = {&devices[gpu][instance + 1]};
    *d.handle = (struct nvmlDevice_st){gpu, instance};
    return d;
}

static const char *value(struct machine *m, const char *key) {
    char line[160];
    int n = snprintf(line, sizeof line, "\n%s ", key);
    char *found = strstr(m->text, line);
    return found ? found + n : NULL;
}

nvmlReturn_t enter(struct machine *m, const char *function) {
    Dl_info self;
    char path[PATH_MAX], key[128];
    m->changed = false;
    m->fd = -1;
    m->text = malloc(TEXT_MAX);
    if (m->text == NULL || dladdr((void *)enter, &self) == 0) return NVML_ERROR_UNKNOWN;
    snprintf(path, sizeof path, "%s", self.dli_fname);
    char *slash = strrchr(path, '/');
    if (slash == NULL) return NVML_ERROR_UNKNOWN;
    strcpy(slash, "/machine");
    snprintf(key, sizeof key, "hang.%s", function);
    for (;;) {
        m->fd = open(path, O_RDWR | O_CLOEXEC);
        if (m->fd < 0 || flock(m->fd, LOCK_EX) != 0) return NVML_ERROR_UNKNOWN;
        m->text[0] = '\n';
        ssize_t n = read(m->fd, m->text + 1, TEXT_MAX - 2);
        if (n < 0) return NVML_ERROR_UNKNOWN;
        m->text[n + 1] = 0;
        if (value(m, key) == NULL) break;
        close(m->fd); // others go on
        usleep(5000);
    }
    snprintf(key, sizeof key, "fail.%s", function);
    const char *fail = value(m, key);
    if (fail != NULL) return (nvmlReturn_t)atoi(fail);
    if (strncmp(function, "nvmlInit", 8) == 0) initialised = true;
    return initialised ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t leave(struct machine *m, nvmlReturn_t code) {
    if (m->changed && m->fd >= 0) {
        size_t n = strlen(m->text) - 1;
        if (pwrite(m->fd, m->text + 1, n, 0) != (ssize_t)n || ftruncate(m->fd, n) != 0) code = NVML_ERROR_UNKNOWN;
    }
    if (m->fd >= 0) close(m->fd);
    free(m->text);
    return code;
}

nvmlReturn_t on(struct machine *m, const char *function, nvmlDevice_t device) {
    nvmlReturn_t code = enter(m, function);
    if (code != NVML_SUCCESS) return code;
    if (device.handle == NULL) return NVML_ERROR_INVALID_ARGUMENT;
    return number(m, device.handle->gpu, "lost", 0) ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

const char *text(struct machine *m, int gpu, const char *name) {
    char key[128];
    snprintf(key, sizeof key, "gpu%d.%s", gpu, name);
    return value(m, key);
}

long long number(struct machine *m, int gpu, const char *name, long long otherwise) {
    const char *found = text(m, gpu, name);
    return found ? atoll(found) : otherwise;
}

void copy(struct machine *m, int gpu, const char *name, char *to, size_t size) {
    const char *found = text(m, gpu, name);
    size_t n = found ? strcspn(found, "\n") : 0;
    if (n >= size) n = size - 1;
    memcpy(to, found, n);
    to[n] = 0;
}

// put with a NULL format removes the fact.
void put(struct machine *m, int gpu, const char *name, const char *format, ...) {
    const char *old = text(m, gpu, name);
    if (old != NULL) {
        char *begin = (char *)old;
        while (*begin != '\n') begin--;
        const char *end = strchr(old, '\n');
        memmove(begin, end, strlen(end) + 1);
    }
    m->changed = true;
    if (format == NULL) return;
    size_t at = strlen(m->text), room = TEXT_MAX - at;
    int n = snprintf(m->text + at, room, "gpu%d.%s ", gpu, name);
    va_list arguments;
    va_start(arguments, format);
    n += vsnprintf(m->text + at + n, room - n, format, arguments);
    va_end(arguments);
    snprintf(m->text + at + n, room - n, "\n");
}
