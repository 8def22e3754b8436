/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The registry of the regions of files, for spin: those who open a file and those who
 * let go of its region at the same time.  All want the region of one file, as one user,
 * who may have LIMIT regions.
 *
 *	party	mshare_get_inode(), then iput() of what it got: iput_final(), evict()
 *
 * It must get a region that is in the registry and not going, however the steps fall;
 * there must not be two of those; nobody may be refused, as one region is all that is
 * needed; and nobody may wait for the memory of an old one, which is freed only when
 * all have what they wanted.
 *
 * What is a step here is one under inode_hash_lock, or under i_lock with the inode found:
 * __iget() in find_inode() and the last decrement in iput() exclude one another by that.
 */

#ifndef PARTIES
#define PARTIES	3
#endif
#ifndef LIMIT
#define LIMIT	1
#endif
#ifndef BUG
#define BUG	0
#endif
/* Is the search to end where one finds the same region, or waits for another to go? */
#ifndef SEEK
#define SEEK	0
#endif
#define FOUND	1
#define WAITED	2

/* Deliberate errors.  Each: what is wrong, and the code that has it right. */
/* Whoever finds a region that is going takes it. */
#define TAKES_GOING	1	/* I_FREEING in find_inode() */
/* Whoever makes a region does not look again whether there is one. */
#define INSERTS_BLINDLY	2	/* inode_insert5() */
/* Whoever waits is woken when the memory is free, and not before. */
#define WAKES_LATE	3	/* inode_wake_up_bit() in mshare_forget_file() */
/* The registry forgets a region when its memory is free. */
#define FORGETS_LATE	4	/* mshare_forget_file() in mshare_evict_inode() */
/* A region counts until its memory is free. */
#define COUNTS_LATE	5	/* atomic_long_dec() in mshare_forget_file() */
/* A region counts before it is known to be needed. */
#define COUNTS_EARLY	6	/* mshare_admit() in mshare_get_inode() */

c_decl {
	static const char *violated;

	static void tell(void)
	{
		if (violated)
			printf("violated: %s\n", violated);
	}
};
#define VIOLATED(why)	c_code { violated = why; }; assert(false)

/* Each makes at most one region that is used: it is called by who made it. */
#define NONE	PARTIES

byte users[PARTIES];	/* i_count */
bool hashed[PARTIES];	/* in the registry */
bool new[PARTIES];	/* I_NEW: not admitted yet */
bool going[PARTIES];	/* I_FREEING */
bool evicted[PARTIES];	/* and its memory is free */
byte counted;		/* regions that count for the user */
byte served;		/* have got one */

inline find(r)
{
	r = 0;
	do
	:: r < PARTIES && !hashed[r] -> r++
	:: else -> break
	od
}

inline count_one()
{
	if
	:: counted == LIMIT -> VIOLATED("somebody is refused")
	:: else -> counted++
	fi
}

proctype party(byte me)
{
	byte r, i, n;

again:
	atomic {
		find(r);
		if
		:: r != NONE && (!going[r] || BUG == TAKES_GOING) -> users[r]++; goto found
		:: r != NONE && going[r] -> goto wait
		:: else
		fi
	}
	/* There was none. */
	if
	:: BUG == COUNTS_EARLY -> atomic { count_one() }
	:: else
	fi;
	atomic {
		find(r);
		if
		:: r != NONE && BUG != INSERTS_BLINDLY ->
			if
			:: BUG == COUNTS_EARLY -> counted--
			:: else
			fi;
			if
			:: going[r] -> goto wait
			:: else -> users[r]++; goto found
			fi
		:: else -> r = me; users[r] = 1; hashed[r] = true; new[r] = true
		fi
	}
	if
	:: BUG != COUNTS_EARLY -> atomic { count_one() }
	:: else
	fi;
	new[r] = false;
	goto has;
wait:
	/* Until somebody wakes it, who has taken that one out or freed it. */
	if
	:: BUG == WAKES_LATE -> evicted[r]
	:: else -> !hashed[r]
	fi;
	if
	:: SEEK == WAITED -> VIOLATED("waited")
	:: else
	fi;
	goto again;
found:
	!new[r];
	if
	:: SEEK == FOUND -> VIOLATED("found")
	:: else
	fi;
has:
	atomic {
		n = 0;
		i = 0;
		do
		:: i < PARTIES -> n = n + (hashed[i] && !going[i]); i++
		:: else -> break
		od;
		if
		:: going[r] || !hashed[r] -> VIOLATED("a stale region")
		:: n > 1 -> VIOLATED("two regions")
		:: else
		fi;
		served++
	}

	/* It lets go. */
	atomic {
		users[r]--;
		if
		:: users[r] > 0 -> goto end
		:: else -> going[r] = true
		fi
	}
	if
	:: BUG != COUNTS_LATE -> counted--
	:: else
	fi;
	if
	:: BUG != FORGETS_LATE -> hashed[r] = false
	:: else
	fi;
	served == PARTIES;
	atomic {
		evicted[r] = true;
		hashed[r] = false;
		if
		:: BUG == COUNTS_LATE -> counted--
		:: else
		fi
	}
end:
	skip
}

init {
	byte i = 0;

	c_code { atexit(tell); };
	atomic {
		do
		:: i < PARTIES -> run party(i); i++
		:: else -> break
		od
	}
	do
	:: timeout ->
		if
		:: served < PARTIES -> VIOLATED("somebody waits for ever")
		:: else -> break
		fi
	od
}
