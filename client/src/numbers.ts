// The one thing that an id says: of two events that one connection is sent, the later one has the higher number.

/** The number that an id ends with; 0 where there is none. */
export const numberOf = (id = '') => +/\d*$/.exec(id)![0];
