#include "api/problem.hpp"

#include <cerrno>

namespace nagaya::api {

std::unexpected<Problem> refuse(unsigned status, std::string detail, std::string field, std::string hint) {
  return std::unexpected(Problem{status, std::move(detail), std::move(field), std::move(hint)});
}

std::string_view reason_of(unsigned status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return status < 500 ? "Refused" : "Fault";
  }
}

namespace {

unsigned status_of(int code) {
  switch (code) {
    case ENOENT:
    case ESRCH: return 404;
    case EEXIST:
    case EBUSY:
    case EALREADY:
    case ENOTEMPTY: return 409;
    case EINVAL:
    case ERANGE:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOEXEC: return 422;
    case EACCES:
    case EPERM: return 403;
    case ENOTCONN:
    case ECONNREFUSED:
    case EAGAIN: return 503;
    case ETIMEDOUT: return 504;
    case ENOSPC:
    case EDQUOT: return 507;
    default: return 500;
  }
}

}  // namespace

Problem problem_of(const Error& error) {
  Problem out{.status = status_of(error.code), .detail = error.what, .hint = error.hint};
  if (!error.why.empty()) out.detail += ": " + error.why;
  return out;
}

Json to_json(const Problem& problem) {
  Json out = {{"type", "about:blank"}, {"title", reason_of(problem.status)}, {"status", problem.status}};
  if (!problem.detail.empty()) out["detail"] = problem.detail;
  if (!problem.field.empty()) out["field"] = problem.field;
  if (!problem.hint.empty()) out["hint"] = problem.hint;
  return out;
}

}  // namespace nagaya::api
