#pragma once

#include "io/ngx.hpp"

namespace module {

inline constexpr size_t kMinZone = 1024 * 1024;
inline constexpr size_t kDefaultZone = 32 * 1024 * 1024;

// Declares the shared memory of the gateway: the ledger's book fills it. It is kept over reloads
// that do not change its size.
ngx_shm_zone_t* add_zone(ngx_conf_t* cf, size_t size);

// The book's memory and lock in a zone that is initialised.
struct ZoneMemory {
    void* memory;
    size_t bytes;
    ngx_shmtx_t* mutex;
};
ZoneMemory zone_memory(ngx_shm_zone_t* zone) noexcept;

}  // namespace module
