#include "base/result.hpp"

#include <cerrno>
#include <cstring>

namespace nagaya {

std::string Error::message() const {
  std::string out = what;
  if (!why.empty()) out += ": " + why;
  if (!hint.empty()) out += " (" + hint + ")";
  return out;
}

Error Error::within(std::string context) && {
  what = std::move(context) + ": " + what;
  return std::move(*this);
}

std::unexpected<Error> fail(std::string what, std::string why, std::string hint) {
  return std::unexpected(Error{std::move(what), std::move(why), std::move(hint), 0});
}

std::unexpected<Error> fail_errno(std::string what, int code, std::string hint) {
  const int number = code != 0 ? code : errno;
  return std::unexpected(Error{std::move(what), std::strerror(number), std::move(hint), number});
}

}  // namespace nagaya
