// How long something is waited for by whoever looks for it again and again. Pure.
#pragma once

#include "member/events.h"

namespace instep::member {

// One that looks much later than it should stood still itself meanwhile, and cannot say that others
// did (design, rule 11): what it waits for gets its time anew.
class Patience {
 public:
  // Looks are never further apart than `apart` when all is well.
  Patience(Nanoseconds limit, Nanoseconds apart, Nanoseconds now)
      : limit_(limit), apart_(apart), since_(now), looked_(now) {}

  // Looks; whether it is over.
  bool over(Nanoseconds now) {
    if (now - looked_ > apart_) since_ = now;
    looked_ = now;
    return now - since_ >= limit_;
  }

 private:
  Nanoseconds limit_, apart_, since_, looked_;
};

}  // namespace instep::member
