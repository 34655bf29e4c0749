#include "module/zone.hpp"

#include "ledger/book.hpp"
#include "module/conf.hpp"

namespace module {

namespace {

ngx_slab_pool_t* slab_of(const ngx_shm_zone_t* zone) noexcept {
    return reinterpret_cast<ngx_slab_pool_t*>(zone->shm.addr);
}

// The largest single allocation: all pages of the fresh zone.
size_t largest_block(const ngx_slab_pool_t* slab) noexcept {
    return slab->pfree * ngx_pagesize;
}

ngx_int_t init_zone(ngx_shm_zone_t* zone, void* old_data) noexcept {
    ngx_slab_pool_t* slab = slab_of(zone);
    if (old_data != nullptr) {
        zone->data = old_data;
        const ZoneMemory kept = zone_memory(zone);
        if (ledger::Book::attach(kept.memory, kept.bytes)) {
            return NGX_OK;
        }
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "llm_zone was laid out by another version of the module: restart nginx");
        return NGX_ERROR;
    }

    const size_t bytes = largest_block(slab);
    void* memory = ngx_slab_alloc(slab, bytes);
    if (memory == nullptr) {
        return NGX_ERROR;
    }
    ledger::Book::format(memory, bytes);
    zone->data = memory;
    return NGX_OK;
}

}  // namespace

ngx_shm_zone_t* add_zone(ngx_conf_t* cf, size_t size) {
    ngx_str_t name = ngx_string("llm");
    ngx_shm_zone_t* zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_llm_module);
    if (zone == nullptr) {
        throw ConfError("the shared memory zone could not be added");
    }
    zone->init = init_zone;
    return zone;
}

ZoneMemory zone_memory(ngx_shm_zone_t* zone) noexcept {
    ngx_slab_pool_t* slab = slab_of(zone);
    auto* memory = static_cast<u_char*>(zone->data);
    return {memory, static_cast<size_t>(slab->end - memory), &slab->mutex};
}

}  // namespace module
