#pragma once

#include "io/ngx.hpp"

namespace io {

// Watches a socket that a foreign library (hiredis, libpq) owns, in the worker's event loop.
// Level triggered, as both libraries assume. It never closes the socket.
//
// A handler may destroy the watcher or attach/detach it.
class FdWatcher {
  public:
    class Handler {
      public:
        virtual void on_readable() noexcept = 0;
        virtual void on_writable() noexcept = 0;
        // The worker wants its idle connections closed (reload, quit). The watcher is still
        // attached; an owner with work to finish may ignore this, at most until its own deadline.
        virtual void on_worker_closing() noexcept = 0;

      protected:
        ~Handler() = default;
    };

    explicit FdWatcher(Handler& handler) noexcept : handler_(handler) {}
    ~FdWatcher() noexcept { detach(); }
    FdWatcher(const FdWatcher&) = delete;
    FdWatcher& operator=(const FdWatcher&) = delete;

    // Takes a connection slot of the worker. False when there is none, logged.
    bool attach(int fd) noexcept;
    // Gives the slot back without touching the socket. `fd_closed`: the library has closed it
    // already.
    void detach(bool fd_closed = false) noexcept;
    bool attached() const noexcept { return connection_ != nullptr; }

    // Interest in each direction; false when the event could not be added, logged.
    bool want_read(bool on) noexcept;
    bool want_write(bool on) noexcept;

  private:
    static void read_event(ngx_event_t* ev) noexcept;
    static void write_event(ngx_event_t* ev) noexcept;

    Handler& handler_;
    ngx_connection_t* connection_ = nullptr;
};

}  // namespace io
