#pragma once

// Loads the library for as long as the process lives and fills the table; NULL, or what went wrong. Before any call of go-nvml.
const char *coinop_nvml_open(const char *path);
int coinop_nvml_has(const char *function);
