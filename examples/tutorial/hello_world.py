# The program of the tutorial: it says hello again and again, and sleeps in between.
import sys
import time

PAUSE_SECS = 10


def main():
  # This line has a mistake, and that is on purpose: the job has to fail before you can fix it.
  for turn in xrang(100):
    print("Hello world! It is %s, turn %d. Now sleeping for %d seconds." % (time.asctime(), turn, PAUSE_SECS))
    sys.stdout.flush()
    time.sleep(PAUSE_SECS)


if __name__ == "__main__":
  main()
