// What a failed request says (RFC 9457), in one shape also when no server answered.
import type { Operation, Problem } from './types';

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title);
    this.name = 'ApiError';
  }
  get status(): number {
    return this.problem.status;
  }
}

/** Whatever was thrown, as an ApiError; status 0 means that no server answered. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new ApiError({ title: 'No answer from the server', status: 0, detail });
}

export function problemOf(body: unknown, response: Response): Problem {
  if (body && typeof body === 'object' && 'title' in body) {
    return { ...(body as Problem), status: response.status };
  }
  return { title: response.statusText || `Status ${response.status}`, status: response.status, detail: typeof body === 'string' ? body.slice(0, 300) : undefined };
}

/** Why an operation failed. */
export function failureOf(ended: Operation): ApiError {
  return new ApiError(ended.error ?? { title: ended.message ?? `${ended.kind} failed`, status: 500 });
}
