// Short names for the contract's types.
import type { components } from '../generated/schema';

type Schemas = components['schemas'];
export type Domain = Schemas['Domain'];
export type DomainDetail = Schemas['DomainDetail'];
export type Definition = Schemas['Definition'];
export type Update = Schemas['Update'];
export type Stats = Schemas['Stats'];
export type ProcessEntry = Schemas['ProcessEntry'];
export type Image = Schemas['Image'];
export type Network = Schemas['Network'];
export type NewNetwork = Schemas['NewNetwork'];
export type Volume = Schemas['Volume'];
export type Operation = Schemas['Operation'];
export type Event = Schemas['Event'];
export type Token = Schemas['Token'];
export type NewToken = Schemas['NewToken'];
export type Role = Schemas['Role'];
export type Info = Schemas['Info'];
export type Problem = Schemas['Problem'];
