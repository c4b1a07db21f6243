// Which network device a job uses on this host, and addresses.
#ifndef STAGECC_CONTROL_INTERFACE_H
#define STAGECC_CONTROL_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>

// The device through which ssh came here, else the one that leads to the host `towards` (NULL: there is
// no such host). false: neither is known.
bool interface_of_job(const char *towards, char *device, size_t size);
// The address of a device, or of that which leads to the host `towards` where device is NULL. false: there is none.
bool interface_address(const char *device, const char *towards, char *text, size_t size);
// "tcp://10.0.0.3:41234", "tcp://[fd00::3]:41234": an address of digits, and a port?
bool interface_endpoint(const char *endpoint);
bool interface_device(const char *address, char *device, size_t size); // the other way
// Programs started from now on send by it, UCX and NCCL, where the environment does not say otherwise.
void interface_use(const char *device);

#endif
