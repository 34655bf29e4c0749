#pragma once

// nginx's C headers, and the few bridges between its types and ours. Everything that includes nginx
// does it through this file.

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
}

#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace io {

inline std::string_view view(const ngx_str_t& s) noexcept {
    return {reinterpret_cast<const char*>(s.data), s.len};
}

// The result borrows `s`: it lives as long as what `s` points to.
inline ngx_str_t borrow(std::string_view s) noexcept {
    return {s.size(), reinterpret_cast<u_char*>(const_cast<char*>(s.data()))};
}

// A copy in `pool`; {0, nullptr} with size > 0 asked means out of memory.
inline ngx_str_t copy(ngx_pool_t* pool, std::string_view s) noexcept {
    auto* p = static_cast<u_char*>(ngx_pnalloc(pool, s.size() + 1));
    if (p == nullptr) {
        return {0, nullptr};
    }
    std::memcpy(p, s.data(), s.size());
    p[s.size()] = '\0';
    return {s.size(), p};
}

template <class T>
void destroy_in_pool(void* object) noexcept {
    static_cast<T*>(object)->~T();
}

// A C++ object in pool storage, destroyed with the pool. nullptr when out of memory; a throwing
// constructor leaves no cleanup behind.
template <class T, class... Args>
T* make_in_pool(ngx_pool_t* pool, Args&&... args) {
    static_assert(alignof(T) <= NGX_ALIGNMENT);
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(pool, sizeof(T));
    if (cleanup == nullptr) {
        return nullptr;
    }
    T* object = new (cleanup->data) T(std::forward<Args>(args)...);
    cleanup->handler = destroy_in_pool<T>;
    return object;
}

// The T that make_in_pool put into `pool`, or nullptr. It outlives the module contexts that nginx
// wipes at internal redirects.
template <class T>
T* find_in_pool(ngx_pool_t* pool) noexcept {
    for (ngx_pool_cleanup_t* c = pool->cleanup; c != nullptr; c = c->next) {
        if (c->handler == destroy_in_pool<T>) {
            return static_cast<T*>(c->data);
        }
    }
    return nullptr;
}

// ngx_delete_posted_event is a macro of several statements, unsafe under a bare `if`.
inline void delete_posted(ngx_event_t* ev) noexcept {
    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }
}

// The value of a directive's expression for this request; it lives as long as that.
inline std::string_view evaluate(ngx_http_request_t* r, ngx_http_complex_value_t& expression) {
    ngx_str_t value;
    if (ngx_http_complex_value(r, &expression, &value) != NGX_OK) {
        throw std::bad_alloc();
    }
    return view(value);
}

inline int64_t wall_ms() noexcept {
    const ngx_time_t* now = ngx_timeofday();
    return static_cast<int64_t>(now->sec) * 1000 + static_cast<int64_t>(now->msec);
}

}  // namespace io
