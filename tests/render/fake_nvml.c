/* NVIDIA's NVML as far as the menu of compute platforms asks it; environment variables answer.
 *
 * FAKE_INIT: what nvmlInit returns. FAKE_SLEEP, FAKE_LOAD: the seconds that it takes, and that loading
 * takes. FAKE_TRACE: a file to which it adds a line. FAKE_DRIVER: the version. FAKE_GPUS: compute capabilities and
 * names, as in "86 NVIDIA GeForce RTX 3090|75 Tesla T4"; without a name, the GPU is lost. FAKE_SEEN:
 * another count of them. -D WITHOUT_... leaves out what old versions do not have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static const char *gpu(unsigned index) {
    const char *list = text("FAKE_GPUS", "");
    while (index-- && list) list = strchr(list, '|') ? strchr(list, '|') + 1 : NULL;
    return list;
}

__attribute__((constructor)) static void loaded(void) { sleep(atoi(text("FAKE_LOAD", "0"))); }

int nvmlInit_v2(void) {
    FILE *trace = getenv("FAKE_TRACE") ? fopen(getenv("FAKE_TRACE"), "a") : NULL;
    if (trace) fputs("asked\n", trace), fclose(trace);
    usleep((unsigned)(1e6 * atof(text("FAKE_SLEEP", "0"))));
    return atoi(text("FAKE_INIT", "0"));
}
#ifndef WITHOUT_VERSION
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    return snprintf(version, length, "%s", text("FAKE_DRIVER", "570.124.06")), 0;
}
#endif
#ifndef WITHOUT_COUNT
int nvmlDeviceGetCount_v2(unsigned *count) {
    for (*count = 0; *text("FAKE_GPUS", "") && gpu(*count);) ++*count;
    if (getenv("FAKE_SEEN")) *count = atoi(getenv("FAKE_SEEN"));
    return 0;
}
#endif
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    const char *found = gpu(index);
    if (!found || strcspn(found, " ") >= strcspn(found, "|")) return 15; /* lost */
    return *handle = (void *)found, 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    const char *begin = strchr(handle, ' ') + 1;
    return snprintf(name, length, "%.*s", (int)strcspn(begin, "|"), begin), 0;
}
#ifndef WITHOUT_CAPABILITY
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    int value = atoi(handle);
    return *major = value / 10, *minor = value % 10, value ? 0 : 3; /* not supported */
}
#endif
int nvmlShutdown(void) { return 0; }
