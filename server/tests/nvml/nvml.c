/* A stand-in for NVIDIA's libnvidia-ml.so with two GPUs, for machines that have none.
 *
 *   cc -shared -fPIC -o libnvidia-ml.so.1 nvml.c
 *
 * It answers what the server asks: init, shutdown, driver version, count, handle by index, name,
 * UUID, utilization, memory (version 2), temperature and power. GPU 1 does not support power, as
 * some real ones do not. Everything else is absent, which the real crate reports as such.
 */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

typedef struct { int index; unsigned utilization, controller, celsius, milliwatts;
                 unsigned long long used; } gpu;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;

#define GIB (1024ULL * 1024 * 1024)
static const unsigned long long TOTAL = 80 * GIB;
static gpu gpus[] = {{0, 87, 42, 64, 412500, 60 * GIB}, {1, 12, 5, 41, 0, 8 * GIB}};

static int text(char *to, unsigned size, const char *from) {
    if (strlen(from) >= size) return TOO_SMALL;
    strcpy(to, from);
    return SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { return text(to, size, "570.00.01"); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &gpus[index];
    return SUCCESS;
}
int nvmlDeviceGetName(gpu *device, char *to, unsigned size) {
    (void)device;
    return text(to, size, "Stand-in H100 80GB");
}
int nvmlDeviceGetUUID(gpu *device, char *to, unsigned size) {
    char uuid[64];
    snprintf(uuid, sizeof uuid, "GPU-00000000-0000-0000-0000-00000000000%d", device->index);
    return text(to, size, uuid);
}
int nvmlDeviceGetUtilizationRates(gpu *device, utilization *found) {
    found->gpu = device->utilization;
    found->memory = device->controller;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(gpu *device, memory_v2 *found) {
    found->total = TOTAL;
    found->reserved = 0;
    found->used = device->used;
    found->free = TOTAL - device->used;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(gpu *device, int sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = device->celsius;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(gpu *device, unsigned *milliwatts) {
    if (device->milliwatts == 0) return NOT_SUPPORTED;
    *milliwatts = device->milliwatts;
    return SUCCESS;
}
