#include "jumps.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum { FUNCTION_NOT_FOUND = 13 }; // NVML's own answer, which needs no library

static int absent(void) { return FUNCTION_NOT_FOUND; }
static const char *no_words(void) { return "no words for this error"; }

#define NVML(name) __attribute__((visibility("hidden"))) void *coinop_slot_##name = (void *)absent;
#include "names.h"
#undef NVML

#define NVML(name) {#name, &coinop_slot_##name},
static const struct { const char *name; void **slot; } slots[] = {
#include "names.h"
};

// The jumps are the process's own, so it has one library, and keeps it: what was once handed out of it may be in use.
static void *library;
static char *loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *fill(const char *path) {
    if (library != NULL) return strcmp(path, loaded) == 0 ? NULL : "this process has loaded another, and one is all that it can have";
    library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    if (library == NULL) return dlerror();
    loaded = strdup(path);
    coinop_slot_nvmlErrorString = (void *)no_words;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        void *found = dlsym(library, slots[i].name);
        if (found != NULL) *slots[i].slot = found;
    }
    return NULL;
}

const char *coinop_nvml_open(const char *path) {
    pthread_mutex_lock(&lock);
    const char *wrong = fill(path);
    pthread_mutex_unlock(&lock);
    return wrong;
}

int coinop_nvml_has(const char *function) { return dlsym(library, function) != NULL; }
