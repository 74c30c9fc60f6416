/* NVIDIA's libcuda and NVML as far as the smoke test asks them; environment variables answer.
 *
 * FAKE_INIT, FAKE_NVML: what cuInit and nvmlInit return. FAKE_CUDA: what the driver supports, e.g.
 * 12000. FAKE_DRIVER: its version. FAKE_GPUS: compute capabilities, e.g. "61 120". FAKE_SEEN: how
 * many GPUs NVML counts. FAKE_LOST: how many of them have fallen off the bus. FAKE_MIG: 1 if they
 * are split, FAKE_INSTANCES: into how many each. FAKE_MODE: their compute mode. FAKE_READY: 0 if
 * confidential computing holds them back. FAKE_TROUBLE: crash or hang in cuInit.
 *
 * To let it show one more fact: add the function of NVIDIA's that is asked, with its name as the
 * library exports it, and answer with text("FAKE_...", what a healthy machine says). Name the new
 * variable here; a row of faults_*.py sets it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int capabilities(int *found) {
    int count = 0, used = 0;
    const char *list = text("FAKE_GPUS", "90");
    while (count < 16 && sscanf(list, "%d%n", &found[count], &used) == 1) list += used, count++;
    return count;
}

int cuInit(unsigned flags) {
    (void)flags;
    if (!strcmp(text("FAKE_TROUBLE", ""), "crash")) abort();
    if (!strcmp(text("FAKE_TROUBLE", ""), "hang")) sleep(600);
    return atoi(text("FAKE_INIT", "0"));
}
int cuDriverGetVersion(int *version) { return *version = atoi(text("FAKE_CUDA", "13000")), 0; }
int cuDeviceGetCount(int *count) {
    int found[16];
    return *count = capabilities(found), 0;
}
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal + 100, 0; }
int cuDeviceGetName(char *name, int length, int device) {
    return snprintf(name, length, "NVIDIA Test %d", device - 100), 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int found[16];
    if (device < 100 || device >= 100 + capabilities(found)) return 101;
    switch (attribute) {
    case 75: return *value = found[device - 100] / 10, 0;
    case 76: return *value = found[device - 100] % 10, 0;
    case 16: return *value = 132, 0; /* the figures of an H200 */
    case 13: return *value = 1980000, 0;
    case 36: return *value = 3201000, 0;
    case 37: return *value = 6144, 0;
    }
    return 1; /* invalid value */
}

int cuDeviceGetPCIBusId(char *bus, int length, int device) {
    return snprintf(bus, length, "0000:%02x:00.0", device - 100), 0;
}

int nvmlInit_v2(void) { return atoi(text("FAKE_NVML", "0")); }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = atoi(text("FAKE_SEEN", "1")), 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    return snprintf(version, length, "%s", text("FAKE_DRIVER", "580.95.05")), 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= (unsigned)atoi(text("FAKE_SEEN", "1"))) return 2;
    if (index < (unsigned)atoi(text("FAKE_LOST", "0"))) return 15;
    return *handle = (void *)((char *)0x7fff00000000 + index), 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **handle) {
    unsigned index = 99;
    return sscanf(bus, "0000:%x:00.0", &index) == 1 ? nvmlDeviceGetHandleByIndex_v2(index, handle) : 2;
}
int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned *generation) {
    return *generation = 5, handle < (void *)0x7fff00000000 ? 2 : 0;
}
int nvmlDeviceGetMaxPcieLinkWidth(void *handle, unsigned *width) {
    return *width = 16, handle < (void *)0x7fff00000000 ? 2 : 0;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    int index = (int)((char *)handle - (char *)0x7fff00000000);
    return snprintf(uuid, length, "GPU-5a%d8ce01-test", index), 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *mode, unsigned *pending) {
    if (handle < (void *)0x7fff00000000 || !getenv("FAKE_MIG")) return 3; /* not supported */
    return *mode = *pending = atoi(text("FAKE_MIG", "0")), 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    return *count = 7, handle < (void *)0x7fff00000000 ? 2 : 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    *instance = handle;
    return index < (unsigned)atoi(text("FAKE_INSTANCES", "2")) ? 0 : 6; /* not found */
}
int nvmlDeviceGetComputeMode(void *handle, unsigned *mode) {
    return *mode = atoi(text("FAKE_MODE", "0")), handle < (void *)0x7fff00000000 ? 2 : 0;
}
int nvmlSystemGetConfComputeState(unsigned state[3]) {
    return state[0] = state[1] = !!getenv("FAKE_READY"), state[2] = 0, 0;
}
int nvmlSystemGetConfComputeGpusReadyState(unsigned *ready) {
    return *ready = atoi(text("FAKE_READY", "1")), 0;
}
