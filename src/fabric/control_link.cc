#include "fabric/control_link.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace instep::fabric {
namespace {

constexpr std::size_t kMaxDescriptors = 253;  // SCM_MAX_FD

Error link_error(std::string_view what, int error_number) {
  return {ErrorKind::kUnavailable, cat("control link: ", what, ": ", std::strerror(error_number))};
}

}  // namespace

Status ControlLink::send(const wire::Message& message, const std::vector<int>& descriptors) {
  const std::vector<std::byte> frame = wire::encode(message);
  if (frame.size() - 4 > wire::kMaxFrameBytes) {
    return invalid(cat("a message of ", frame.size() - 4, " bytes; at most ", wire::kMaxFrameBytes,
                       " are allowed"));
  }
  INSTEP_CHECK(descriptors.size() <= kMaxDescriptors, "too many descriptors for one message");
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control{};
  const std::lock_guard lock(sending_);
  for (std::size_t sent = 0; sent < frame.size();) {
    iovec part{const_cast<std::byte*>(frame.data()) + sent, frame.size() - sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && !descriptors.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
      cmsghdr* beside = CMSG_FIRSTHDR(&header);
      beside->cmsg_level = SOL_SOCKET;
      beside->cmsg_type = SCM_RIGHTS;
      beside->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
      std::memcpy(CMSG_DATA(beside), descriptors.data(), sizeof(int) * descriptors.size());
    }
    const ssize_t put = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return link_error("the other end does not read", ETIMEDOUT);
      return link_error("cannot send", errno);
    }
    sent += static_cast<std::size_t>(put);
  }
  return {};
}

Status ControlLink::limit_sending(int milliseconds) {
  timeval limit{};
  limit.tv_sec = milliseconds / 1000;
  limit.tv_usec = (milliseconds % 1000) * 1000;
  if (::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
    return link_error("cannot limit sending", errno);
  }
  return {};
}

Result<ControlLink::Step> ControlLink::fill(std::byte* into, std::size_t wanted, bool wait) {
  iovec part{into, wanted};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Step::kWaiting;
    if (errno == ECONNRESET) return Step::kEnded;
    return link_error("cannot receive", errno);
  }
  for (cmsghdr* beside = CMSG_FIRSTHDR(&header); beside != nullptr;
       beside = CMSG_NXTHDR(&header, beside)) {
    if (beside->cmsg_level != SOL_SOCKET || beside->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (beside->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(beside) + i * sizeof(int), sizeof fd);
      descriptors_.emplace_back(fd);
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0 || descriptors_.size() > kMaxDescriptors) {
    return Error{
        ErrorKind::kInternal,
        "control link: descriptors were lost; is the limit of open files (ulimit -n) low?"};
  }
  if (got == 0) return Step::kEnded;
  filled_ += static_cast<std::size_t>(got);
  return Step::kWhole;
}

Result<ControlLink::Polled> ControlLink::next(bool wait) {
  while (true) {
    std::byte* into = nullptr;
    std::size_t wanted = 0;
    if (filled_ < prefix_.size()) {
      into = prefix_.data() + filled_;
      wanted = prefix_.size() - filled_;
    } else {
      INSTEP_ASSIGN_OR_RETURN(const std::size_t length, wire::frame_length(std::span(prefix_)));
      if (filled_ == prefix_.size()) body_.resize(length);
      into = body_.data() + (filled_ - prefix_.size());
      wanted = prefix_.size() + length - filled_;
      if (wanted == 0) {
        INSTEP_ASSIGN_OR_RETURN(wire::Message message, wire::decode(body_));
        filled_ = 0;
        Polled out;
        out.message.emplace(Received{std::move(message), std::move(descriptors_)});
        descriptors_.clear();
        return out;
      }
    }
    INSTEP_ASSIGN_OR_RETURN(const Step step, fill(into, wanted, wait));
    if (step == Step::kWaiting) return Polled{};
    if (step == Step::kEnded) {
      if (filled_ == 0) return Polled{std::nullopt, true};
      return Error{ErrorKind::kUnavailable, "control link: it ended inside a message"};
    }
  }
}

Result<std::optional<ControlLink::Received>> ControlLink::receive() {
  INSTEP_ASSIGN_OR_RETURN(Polled polled, next(true));
  return std::move(polled.message);
}

Result<ControlLink::Polled> ControlLink::poll() { return next(false); }

void ControlLink::shut_down() { ::shutdown(socket_.get(), SHUT_RDWR); }

Result<std::pair<Fd, Fd>> make_control_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return os_error("make", "a control link", errno);
  }
  return std::pair<Fd, Fd>(ends[0], ends[1]);
}

}  // namespace instep::fabric
