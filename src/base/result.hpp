// Results that carry what failed, where, and what to do about it. Library code never prints and never exits.
#pragma once
#include <expected>
#include <string>
#include <utility>

namespace nagaya {

/// What failed. `what` reads as a sentence fragment ("cannot open kernel 'x'"), `why` is the cause ("No such file or
/// directory"), `hint` what the user can do next; the last two may be empty. `code` is an errno value or 0.
struct Error {
  std::string what;
  std::string why{};
  std::string hint{};
  int code = 0;

  /// One line for a person: "what: why (hint)".
  [[nodiscard]] std::string message() const;
  /// The same error with an outer context put before `what`.
  [[nodiscard]] Error within(std::string context) &&;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// Failure with a message of its own.
[[nodiscard]] std::unexpected<Error> fail(std::string what, std::string why = {}, std::string hint = {});
/// Failure from errno (or from `code` when given), read before anything else can change it.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string what, int code = 0, std::string hint = {});

}  // namespace nagaya

#define NAGAYA_CAT2(a, b) a##b
#define NAGAYA_CAT(a, b) NAGAYA_CAT2(a, b)
/// `TRY_ASSIGN(auto x, f());` binds the value or returns the error to the caller.
#define TRY_ASSIGN(decl, expr)                                                                   \
  auto NAGAYA_CAT(try_, __LINE__) = (expr);                                                      \
  if (!NAGAYA_CAT(try_, __LINE__)) return std::unexpected(std::move(NAGAYA_CAT(try_, __LINE__)).error()); \
  decl = std::move(*NAGAYA_CAT(try_, __LINE__))
/// `TRY(f());` returns the error of a Result to the caller, else goes on.
#define TRY(expr)                                                                   \
  do {                                                                              \
    if (auto try_result_ = (expr); !try_result_) return std::unexpected(std::move(try_result_).error()); \
  } while (0)
