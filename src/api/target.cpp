#include "api/target.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "api/text.hpp"

namespace nagaya::api {

Answer<Target> parse_target(std::string_view text) {
  const auto url = boost::urls::parse_origin_form(boost::core::string_view(text.data(), text.size()));
  if (!url) return refuse(400, "the request's target is no path");
  Target out;
  out.path = std::string(url->encoded_path());
  for (const auto& segment : url->segments()) {
    std::string one(segment.begin(), segment.end());
    for (const char c : one) {
      if (static_cast<u8>(c) < 0x20 || c == 0x7F) return refuse(400, "the path holds a control character");
    }
    if (!valid_utf8(one)) return refuse(400, "the path is no UTF-8");
    out.segments.push_back(std::move(one));
  }
  // A query's '+' is a space for forms (WHATWG URL); programs write %20 for a space and %2B for a plus.
  for (const auto& parameter : url->params()) {
    std::string key(parameter.key), value(parameter.value);
    for (std::string* word : {&key, &value}) {
      if (!valid_utf8(*word)) return refuse(400, "the query is no UTF-8");
    }
    if (value.find('\0') != std::string::npos || key.find('\0') != std::string::npos) return refuse(400, "the query holds the character NUL");
    out.query[key].push_back(std::move(value));
  }
  return out;
}

}  // namespace nagaya::api
