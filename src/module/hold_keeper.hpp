#pragma once

#include "io/timer.hpp"

namespace module {

// Renews the holds of this worker's calls in time, however long a provider is silent. By the
// monotonic clock; each hold by itself, so that many make no burst.
class HoldKeeper {
  public:
    class Hold {
      public:
        virtual void renew_hold() noexcept = 0;

      protected:
        ~Hold() = default;

      private:
        friend HoldKeeper;
        struct Link {
            ngx_queue_t queue;
            Hold* hold;
        };
        Link link_{{}, this};
        ngx_msec_t renewed_ = 0;
    };

    HoldKeeper() noexcept;
    HoldKeeper(const HoldKeeper&) = delete;
    HoldKeeper& operator=(const HoldKeeper&) = delete;

    // The hold has just been made. It must be let go before it is destroyed.
    void keep(Hold& hold) noexcept;
    void let_go(Hold& hold) noexcept;

  private:
    void renew_due() noexcept;
    void append(Hold& hold) noexcept;

    ngx_queue_t holds_;  // by the time of their renewal
    io::Timer due_;
};

}  // namespace module
